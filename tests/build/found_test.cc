// tests/found in prefixes as modules, Spack and conda lay them out: the test copies a library there, finds it, and
// looks whose library a program loads that was linked with the flags found.
#include <cstdlib>

#include <gtest/gtest.h>

#include "build/small_tree.h"

namespace packhorse::test {
namespace {

constexpr const char* kZlib =
    "library | zlib | make | 1.2 | zlib; zlib.h; z; ZLIB_VERSION | zlib1g-dev | zlib; home | -\n";

/// A value of build/found/NAME.mk.
std::string found(const SmallTree& tree, const std::string& name, const std::string& value) {
  return run_shell("sed -n 's/^FOUND_" + name + "_" + value + " := *//p' build/found/" + name + ".mk | tr -d '\\n'",
                   tree.options({}))
      .out;
}

class Found : public ::testing::Test {
 protected:
  Found() { tree_.put("tests/needs", kZlib); }

  static void SetUpTestSuite() {
    prefix_ = new TempDir;
    const RunResult laid = run_command({source_path("tests/build/prefix.sh").string(), at("prefix"), "zlib1g-dev"});
    if (laid.exit_code != 0) skip_ = laid.err;
  }
  static void TearDownTestSuite() { delete prefix_; }
  static std::string at(const std::string& name) { return (*prefix_ / name).string(); }

  /// Finds zlib with this environment, and expects the prefix's to be what is found, linked and loaded.
  void expect_the_prefixs(const std::map<std::string, std::string>& env) const {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    const RunResult search = tree_.run({"tests/found"}, env);
    ASSERT_EQ(search.exit_code, 0) << search.all();
    EXPECT_EQ(found(tree_, "zlib", "PLACE"), at("prefix"));
    tree_.put("main.cc", "#include <zlib.h>\nint main() { return zlibVersion()[0] == ZLIB_VERSION[0] ? 0 : 1; }\n");
    const RunResult linked = run_shell("${CXX:-g++} " + found(tree_, "zlib", "CFLAGS") + " main.cc " +
                                           found(tree_, "zlib", "LIBS") + " -o main && ldd main && ./main",
                                       tree_.options(env));
    EXPECT_EQ(linked.exit_code, 0) << linked.all();
    EXPECT_TRUE(contains(linked.out, "libz.so.1 => " + at("prefix/lib"))) << linked.all();
  }

  static inline TempDir* prefix_ = nullptr;  // with zlib in it
  static inline std::string skip_;           // why there is none
  SmallTree tree_;
};

TEST_F(Found, APrefixOfPkgConfig) { expect_the_prefixs({{"PKG_CONFIG_PATH", at("prefix/lib/pkgconfig")}}); }

TEST_F(Found, APrefixOfCMakeOrConda) { expect_the_prefixs({{"CONDA_PREFIX", at("prefix")}}); }

TEST_F(Found, APrefixWithoutPcFiles) {
  expect_the_prefixs({{"CMAKE_PREFIX_PATH", "/nowhere:" + at("prefix")}, {"PKG_CONFIG", "false"}});
}

/// The system has the library, too, and a .pc file that names its own folder.
TEST_F(Found, TheFoldersThatModulesName) {
  const std::string folder = run_shell("dirname $(${CXX:-g++} -print-file-name=libz.so) | tr -d '\\n'").out;
  tree_.put("system/zlib.pc", "Name: zlib\nDescription: the system's\nVersion: 1.2.13\nLibs: -L" + folder + " -lz\n");
  expect_the_prefixs({{"CPATH", at("prefix/include")},
                      {"LIBRARY_PATH", at("prefix/lib")},
                      {"PKG_CONFIG_LIBDIR", (tree_ / "system").string()}});
}

TEST_F(Found, TheSystemsNeedsNoRpath) {
  tree_.run({"tests/found"});
  EXPECT_EQ(found(tree_, "zlib", "PLACE"), "");
  EXPECT_EQ(found(tree_, "zlib", "LIBS"), "-lz");
}

TEST_F(Found, IsKeptUntilSomethingChanges) {
  tree_.put_program("count", "echo >> runs\nexec g++ \"$@\"\n");
  const std::map<std::string, std::string> env = {{"CXX", (tree_ / "count").string()}};
  const auto runs = [&] { return run_shell("wc -l < runs", tree_.options({})).out; };
  tree_.run({"tests/found"}, env);
  const std::string first = runs();
  const auto written = std::filesystem::last_write_time(tree_ / "build/found/zlib.mk");
  tree_.run({"tests/found"}, env);
  EXPECT_EQ(runs(), first) << "nothing has changed, and it compiled again";
  // Another need: it looks again, and what did not change is not written again.
  tree_.put("tests/needs",
            kZlib + std::string("library | unicorn | make | - | -; unicorn.h; -; - | - | -; home | -\n"));
  tree_.run({"tests/found"}, env);
  EXPECT_NE(runs(), first);
  EXPECT_EQ(std::filesystem::last_write_time(tree_ / "build/found/zlib.mk"), written);
  EXPECT_EQ(run_shell("cat build/found/missing", tree_.options({})).out,
            "unicorn|fatal error: unicorn.h: No such file or directory\n");
}

TEST_F(Found, ALibjpegThatIsNotTurboWillNotDo) {
  tree_.put(
      "tests/needs",
      "library | jpeg | make | 1.5 | -; jpeglib.h; jpeg; LIBJPEG_TURBO_VERSION | libjpeg-dev | libjpeg; home | -\n");
  tree_.put("other/jpeglib.h", "#define JPEG_LIB_VERSION 90\n");
  tree_.run({"tests/found"}, {{"CPATH", (tree_ / "other").string()}});
  const std::string why = run_shell("cat build/found/missing", tree_.options({})).out;
  EXPECT_TRUE(contains(why, "is not libjpeg-turbo")) << why;
  EXPECT_FALSE(std::filesystem::exists(tree_ / "build/found/jpeg.mk"));
}

/// The HDF5 of a cluster: in a prefix of its own, and built with MPI, whose header HDF5's header includes. What uses
/// HDF5 is built again with it, and nothing else; and HDF5's tests pass, without LD_LIBRARY_PATH.
TEST(FoundPrefix, AParallelHdf5) {
  const char* set = std::getenv("MPI");
  const std::string mpi = set != nullptr && *set != '\0' ? set : "openmpi";
  const SmallTree tree;
  const std::string prefix = (tree / "prefix").string();
  const std::string lay = source_path("tests/build/prefix.sh").string();
  RunResult laid = run_command({lay, prefix, "libhdf5-" + mpi + "-dev"});
  const bool parallel = laid.exit_code == 0;
  if (!parallel) laid = run_command({lay, prefix, "libhdf5-dev"});
  if (laid.exit_code != 0) GTEST_SKIP() << laid.err;
  // Most builds of HDF5 do not say in their .pc file that they need MPI.
  ASSERT_EQ(run_shell("sed -i '/^Requires/d' prefix/lib/pkgconfig/hdf5*.pc", tree.options({})).exit_code, 0);

  for (const char* name :
       {"lib", "tests/hdf5", "tests/support", "build/found", "build/tests/hdf5", "build/tests/support"})
    tree.copy(name);
  for (const char* room : {"base", "hdf5", "demo", "classes", "metrics", "manifest", "record", "image"})
    for (const char* end : {"", ".a"}) tree.copy(std::string("build/lib/") + room + end);
  const RunResult made =
      tree.run({"make", "build/tests/hdf5_test", "OPTIMISE=-O0"}, {{"PKG_CONFIG_PATH", prefix + "/lib/pkgconfig"}});
  ASSERT_EQ(made.exit_code, 0) << made.all();
  EXPECT_EQ(found(tree, "hdf5", "PLACE"), prefix);
  EXPECT_EQ(contains(found(tree, "hdf5", "VERSION"), "(parallel)"), parallel);
  tree.put("made", made.out);
  EXPECT_EQ(run_shell("LC_ALL=C sort made", tree.options({})).out,
            "  c++   lib/hdf5/hdf5_file.cc\n  c++   tests/hdf5/hdf5_file_test.cc\n  room  hdf5\n  test  hdf5\n");

  const RunResult loads = run_shell("ldd build/tests/hdf5_test", tree.options({}));
  EXPECT_TRUE(contains(loads.out, "libhdf5") && contains(loads.out, "=> " + prefix + "/lib/libhdf5")) << loads.all();
  const RunResult tests = tree.run({"build/tests/hdf5_test", "--gtest_brief=1"});
  EXPECT_EQ(tests.exit_code, 0) << tests.all();
  if (!parallel) GTEST_SKIP() << "a serial HDF5 was tested: a parallel one cannot be downloaded here";
}

}  // namespace
}  // namespace packhorse::test

// When a build breaks, make's last line is the cause, whatever the kind of break.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "build/small_tree.h"

namespace packhorse::test {
namespace {

class Break : public ::testing::Test {
 protected:
  /// What the project's make found, so that a test does not search again.
  Break() { tree_.copy("build/found"); }

  /// Runs make, which must break, and returns its last line.
  std::string last_line_of(const std::vector<std::string>& arguments,
                           const std::map<std::string, std::string>& env = {}) const {
    std::vector<std::string> command = {"make"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const RunResult result = tree_.run(command, env);
    EXPECT_EQ(result.exit_code, 2) << result.all();
    output_ = result.all();
    return last_line(result.err);
  }
  void expect_last_line(const std::string& words, const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& env = {}) const {
    const std::string line = last_line_of(arguments, env);
    EXPECT_TRUE(contains(line, words)) << line << "\n--- all of it:\n" << output_;
    EXPECT_FALSE(contains(line, "Error ")) << line;
  }

  SmallTree tree_;
  mutable std::string output_;
};

constexpr const char* kObject = "build/lib/base/broken.o";

TEST_F(Break, ByAnErrorInASource) {
  tree_.put("lib/base/broken.cc", "int one() { return 1; }\nint two() { return nothing; }\n");
  expect_last_line("lib/base/broken.cc:2:20: error: ", {kObject});
  EXPECT_TRUE(contains(output_, "int two()")) << "the compiler's own words are there, too\n" << output_;
}

TEST_F(Break, ByAnErrorInALibrarysHeaderNamesTheSource) {
  tree_.put("library.h", "template <class T> auto twice(T x) { return x.twice(); }\n");
  tree_.put("lib/base/broken.cc", "#include <library.h>\nint two() { return twice(1); }\n");
  expect_last_line("library.h:1:47: error: ", {kObject}, {{"CXXFLAGS", "-isystem " + (tree_ / "").string()}});
  EXPECT_TRUE(contains(last_line(output_), "(compiling lib/base/broken.cc)")) << output_;
}

TEST_F(Break, ByAMissingHeader) {
  tree_.put("lib/base/broken.cc", "#include <no_such_library.h>\n");
  expect_last_line("lib/base/broken.cc:1:10: fatal error: no_such_library.h: No such file or directory", {kObject});
}

TEST_F(Break, ByALinkNamesWhatIsMissingAndWhere) {
  tree_.put("lib/list/list.cc", "int somewhere() { return 1; }\n");
  tree_.put("stages/list.cc", "int nowhere();\nint main() { return nowhere(); }\n");
  expect_last_line("cannot link build/bin/packhorse-list: undefined reference to `nowhere()'",
                   {"build/bin/packhorse-list"});
}

/// -wrapper: the compiler starts its parts under this program.
TEST_F(Break, ByAKilledCompilerSuggestsOneJob) {
  tree_.put("lib/base/broken.cc", "int one() { return 1; }\n");
  tree_.put_program("kill", "kill -KILL $$\n");
  const std::string under_it = "-wrapper " + (tree_ / "kill").string();
  expect_last_line("the compiler was killed at lib/base/broken.cc, most likely because memory ran out: try make JOBS=1",
                   {kObject}, {{"CXXFLAGS", under_it}});
}

TEST_F(Break, ByLittleMemory) {
  tree_.put("lib/base/broken.cc", "#include <string>\nstd::string one() { return \"1\"; }\n");
  tree_.put_program("little", "ulimit -v 60000\nexec \"$@\"\n");
  expect_last_line("try make JOBS=1", {kObject}, {{"CXXFLAGS", "-wrapper " + (tree_ / "little").string()}});
}

/// The assembler writes to /dev/full, where every write fails as on a full disk.
TEST_F(Break, ByAFullDisk) {
  tree_.put("lib/base/broken.cc", "int one() { return 1; }\n");
  tree_.put_program("fill", "exec \"${@/#build*broken.o//dev/full}\"\n");
  expect_last_line("no space left: ", {kObject}, {{"CXXFLAGS", "-wrapper " + (tree_ / "fill").string()}});
}

TEST_F(Break, ByALibraryThatIsNotFound) {
  tree_.put("tests/needs",
            "library | fmt | make | 99.0 | fmt; fmt/core.h; fmt; FMT_VERSION | libfmt-dev | {fmt}; home | -\n");
  tree_.put("lib/base/broken.cc", "#include <fmt/core.h>\n");
  expect_last_line("fmt is not found: ", {kObject});
  EXPECT_TRUE(contains(last_line(output_), "is too old (")) << output_;
}

TEST_F(Break, ByAnErrorOfAProgramThatMakeRuns) {
  tree_.put_program("tests/layers", "echo 'error: the third room leans' >&2\necho '  where: lib/third' >&2\nexit 1\n");
  tree_.put("tests/needs", "");
  expect_last_line("the third room leans (lib/third)", {"lint"});
}

/// tests/run on a test binary that fails and one that crashes, under `why`, as `make test` has them.
TEST_F(Break, ByTestsThatFailNamesThem) {
  tree_.copy("tests/run");
  tree_.put("build/tests/x", "");  // the folder of the logs
  tree_.put_program("red_test", "echo '[  FAILED  ] Ship.Floats (3 ms)'\necho '[  FAILED  ] Ship.Floats'\nexit 1\n");
  tree_.put_program("lost_test", "kill -SEGV $$\n");
  const RunResult result =
      tree_.run({"tests/why", "tests/run", (tree_ / "red_test").string(), (tree_ / "lost_test").string()},
                {{"WHY", (tree_ / "cause").string()}});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(read_text(tree_ / "cause").substr(0, 48), "2 failed: Ship.Floats lost_test with code 139   ");
  EXPECT_EQ(last_line(result.out), "0 passed, 2 failed, 0 skipped");
}

TEST_F(Break, ByAGoalThatNobodyKnows) { expect_last_line("No rule to make target 'build/nothing'", {"build/nothing"}); }

/// A process that is left behind holds make's standard error.
TEST_F(Break, IsNotWaitedForByWhatIsLeftBehind) {
  tree_.put("tests/needs", "");
  tree_.put_program("tests/layers", "sleep 250 & echo $! > sleeper\nexit 1\n");
  expect_last_line("layers ended with exit code 1", {"lint"});
  EXPECT_TRUE(run_shell("kill $(cat sleeper)", tree_.options({})).exit_code == 0) << "it ran on after make had ended";
}

TEST_F(Break, IsNoneWhenAllIsWell) {
  tree_.put("lib/base/sound.cc", "int one() { return 1; }\n");
  const RunResult result = tree_.run({"make", "build/lib/base/sound.o"});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(result.out, "  c++   lib/base/sound.cc\n");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(run_shell("ls build", tree_.options({})).out, "found\nlib\n") << "and nothing of why is left";
}

/// The job slots of make -j reach the make below. The folders of another release are no part of the build.
TEST_F(Break, IsNoneWithJobsAndAFolderOfAnotherRelease) {
  tree_.put("lib/base/sound.cc", "int one() { return 1; }\n");
  tree_.put("build/elsewhere/trixie/etc/rc0.d/README", "");
  const RunResult result = tree_.run({"make", "-j2", "build/lib/base/sound.o"});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(result.err, "");
}

TEST_F(Break, ByInterruptEndsTheCompilersToo) {
  tree_.put("lib/base/slow.cc", "int one() { return 1; }\n");
  tree_.put_program("wait", "echo $$ > waiting.part && mv waiting.part waiting\nexec sleep 250\n");
  Subprocess make({"make", "build/lib/base/slow.o"},
                  tree_.options({{"CXXFLAGS", "-wrapper " + (tree_ / "wait").string()}}));
  while (!std::filesystem::exists(tree_ / "waiting") && make.running())
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  make.signal_group(SIGINT);  // as Ctrl-C does
  const RunResult result = make.wait();
  EXPECT_EQ(result.exit_code, 128 + SIGINT) << result.all();
  // "Interrupt", or "wait: No child processes" where the signal meets make just after it reaped the compiler.
  EXPECT_TRUE(contains(result.err, "make[1]: *** ")) << "make's last words\n" << result.all();
  // Nobody may have waited for it yet: a zombie has ended.
  const RunResult ended = run_shell(
      "for i in {1..100}; do grep -q '^State:.[^Z]' /proc/$(cat waiting)/status || exit 0; "
      "sleep 0.1; done; exit 1",
      tree_.options({}));
  EXPECT_EQ(ended.exit_code, 0) << "the compiler still runs";
}

TEST(FirstScreen, SaysInFiveLinesWhatThereIs) {
  const SmallTree tree;
  tree.copy("build/found");
  const RunResult result = tree.run({"tests/found", "--show"});
  EXPECT_EQ(result.exit_code, 0);
  const std::vector<std::string> words = {"g++\\|clang", "MPI: [A-Z].* [0-9]", "oneDNN [0-9].* HDF5 [0-9]", "CUDA",
                                          "[0-9] cores, [0-9]* GiB of memory"};
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string line = "sed -n " + std::to_string(i + 1) + "p screen";
    tree.put("screen", result.out);
    EXPECT_EQ(run_shell(line + " | grep -q '" + words[i] + "'", tree.options({})).exit_code, 0)
        << words[i] << " is not in line " << i + 1 << " of\n"
        << result.out;
  }
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 5) << result.out;
}

}  // namespace
}  // namespace packhorse::test

// tests/deps on systems of each kind: what it asks for, of whom, and what it then says.
#include <unistd.h>

#include <gtest/gtest.h>

#include "build/small_tree.h"

namespace packhorse::test {
namespace {

/// A library that no system has, of which apt knows the second name; and one that every system that builds us has.
constexpr const char* kUnicorn =
    "library | unicorn | make | 2.5 | unicorn; unicorn.h; unicorn; UNICORN_VERSION | libunicorn-old libunicorn-dev | "
    "libunicorn; https://unicorn.example | -\n";
constexpr const char* kZlib =
    "library | zlib | make | 1.2 | zlib; zlib.h; z; ZLIB_VERSION | zlib1g-dev | zlib; home | -\n";
constexpr const char* kWish =
    "program | plotter | make? | - | no-such-plotter | plotter | Plotter; home | curves are not drawn\n";

class Deps : public ::testing::Test {
 protected:
  Deps() {
    // A system with the programs that the scripts and the compiler use, and nothing of a distribution.
    const RunResult linked = run_shell(
        "mkdir bin && for p in bash env sed awk grep cut tr cat cp rm mv mkdir mktemp stat sort paste head tail "
        "dirname "
        "readlink cmp nproc uname id printf echo ldd readelf as ld pkg-config date df ls touch chmod wc ${CXX:-g++}; "
        "do "
        "ln -s \"$(command -v $p)\" bin/ || exit; done",
        tree_.options({}));
    EXPECT_EQ(linked.exit_code, 0) << linked.err;
  }

  /// A Debian whose apt-get writes down what it is asked, and whose apt-cache knows two packages.
  void debian(const std::string& installs = "true") {
    tree_.put_program("bin/apt-get", "echo \"$*\" >> asked\n[ \"$1\" = update ] || { " + installs + "; }\n");
    tree_.put_program("bin/apt-cache",
                      "shift\nfor p; do case $p in libunicorn-dev | plotter) echo $p:; echo '  Candidate: 1.0';; "
                      "*) echo $p:; echo '  Candidate: (none)';; esac; done\n");
    std::filesystem::remove(tree_ / "bin/id");
    tree_.put_program("bin/id", "echo 0\n");
  }
  RunResult deps(const std::vector<std::string>& purposes) const {
    std::vector<std::string> command = {"tests/deps"};
    command.insert(command.end(), purposes.begin(), purposes.end());
    return tree_.run(command, {{"PATH", (tree_ / "bin").string()}});
  }
  std::string asked() const { return run_shell("cat asked", tree_.options({})).out; }

  SmallTree tree_;
};

TEST_F(Deps, AsksForNothingWhereAllIsFoundAndThereIsNoDpkg) {
  tree_.put("tests/needs", kZlib);
  const RunResult result = deps({"make"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.all(), "");
}

TEST_F(Deps, TellsAnUnknownSystemWhatIsMissingByLibrary) {
  tree_.put("tests/needs", std::string(kZlib) + kUnicorn + kWish);
  const RunResult result = deps({"make"});
  EXPECT_EQ(result.exit_code, 1);
  for (const char* words : {"error: missing: libunicorn\n", "from 2.5 on", "https://unicorn.example", "PKG_CONFIG_PATH",
                            "CMAKE_PREFIX_PATH", "LIBRARY_PATH", "Spack", "conda", "curves are not drawn"}) {
    EXPECT_TRUE(contains(result.err, words)) << words << " is not in\n" << result.err;
  }
  EXPECT_FALSE(contains(result.all(), "apt")) << result.all();
  EXPECT_FALSE(contains(result.all(), "zlib")) << "which is there\n" << result.all();
}

TEST_F(Deps, TellsAnOrdinaryUserOneCommand) {
  tree_.put("tests/needs", std::string(kUnicorn) + kWish);
  debian();
  std::vector<std::string> command = {"tests/deps", "make"};
  std::filesystem::remove(tree_ / "bin/id");
  run_shell("ln -s \"$(command -v id)\" bin/", tree_.options({}));
  if (getuid() == 0) {
    run_command({"chmod", "-R", "a+rwX", (tree_ / "").string()});
    const RunResult there = run_command({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "true"});
    if (there.exit_code != 0) GTEST_SKIP() << "root cannot become another user here: " << there.err;
    const std::string setpriv = run_shell("command -v setpriv").out;
    command.insert(command.begin(),
                   {setpriv.substr(0, setpriv.size() - 1), "--reuid=65534", "--regid=65534", "--clear-groups"});
  }
  const RunResult result = run_command(command, tree_.options({{"PATH", (tree_ / "bin").string()}}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.err,
                       "\n    sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends "
                       "libunicorn-dev plotter'\n"))
      << result.all();
  EXPECT_EQ(result.err.find("sudo"), result.err.rfind("sudo")) << "one command\n" << result.err;
  EXPECT_EQ(asked(), "") << "apt-get was started";
}

TEST_F(Deps, InstallsAsRootTheNamesThatAptKnowsAndLooksAgain) {
  tree_.put("tests/needs", "file | data | make | - | data.noun | libunicorn-old libunicorn-dev | data; home | -\n");
  debian("touch data.noun");
  const RunResult result = deps({"make"});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(asked(), "update\ninstall -y --no-install-recommends libunicorn-dev\n");
  EXPECT_EQ(result.out, "  deps  libunicorn-dev\n");
}

TEST_F(Deps, IsAnErrorIfItIsStillMissingAfterwards) {
  tree_.put("tests/needs", kUnicorn);
  debian();
  const RunResult result = deps({"make"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.err, "error: missing: libunicorn\n")) << result.all();
  EXPECT_TRUE(contains(asked(), "libunicorn-dev")) << "it was tried";
}

TEST_F(Deps, WhatIsOnlyWantedStopsNobodyAndIsTriedOnce) {
  tree_.put("tests/needs", kWish);
  const RunResult elsewhere = deps({"make"});
  EXPECT_EQ(elsewhere.exit_code, 0);
  EXPECT_TRUE(contains(elsewhere.err, "there is no Plotter: curves are not drawn")) << elsewhere.all();
  debian("false");
  for (int i = 0; i < 2; ++i) {
    const RunResult result = deps({"make"});
    EXPECT_EQ(result.exit_code, 0) << result.all();
    EXPECT_TRUE(contains(result.err, "curves are not drawn")) << result.all();
  }
  EXPECT_EQ(asked(), "update\ninstall -y --no-install-recommends plotter\n");
}

TEST_F(Deps, PurposesStayApart) {
  tree_.put(
      "tests/needs",
      "program | a | test | - | no-such-a | a | A; home | -\nprogram | b | lint | - | no-such-b | b | B; home | -\n");
  EXPECT_EQ(deps({"make"}).exit_code, 0);
  const RunResult test = deps({"make", "test"});
  EXPECT_EQ(test.exit_code, 1);
  EXPECT_TRUE(contains(test.err, "error: missing: A\n")) << test.err;
  EXPECT_TRUE(contains(deps({"lint"}).err, "error: missing: B\n"));
}

TEST_F(Deps, SaysWhatIsWrongWithALibraryThatIsThere) {
  tree_.put("tests/needs", kUnicorn);
  tree_.put("old/unicorn.h", "#define UNICORN_VERSION \"2.4.9\"\n");
  const std::map<std::string, std::string> env = {{"PATH", (tree_ / "bin").string()},
                                                  {"CPATH", (tree_ / "old").string()}};
  const RunResult result = tree_.run({"tests/deps", "make"}, env);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.err, "where: libunicorn: 2.4.9 is too old (" + (tree_ / "old/unicorn.h").string()))
      << result.err;
}

/// The real table: each line has its eight fields, its purposes are known, and what a library is found by is complete.
TEST(Needs, EveryLineIsWhole) {
  const RunResult bad = run_shell(
      "grep -vE '^(#|$)' tests/needs | awk -F ' [|] ' 'NF != 8 || $1 !~ /^(library|program|file|command)$/ || "
      "$3 !~ /^((make|demo|test|lint|peers|campaign)[?]?(, )?)+$/ || $7 !~ /; http/ || ($1 == \"library\" && split($5, "
      "f, \"; "
      "\") != 4)'",
      {.folder = source_path("")});
  EXPECT_EQ(bad.out, "") << "lines that are not whole";
}

/// What needs no library works where there is none, and no compiler.
TEST_F(Deps, SomeGoalsNeedNoLibrary) {
  tree_.put("tests/needs", kUnicorn);
  tree_.put("lib/base/one.cc", "#include <unicorn.h>\n");
  run_shell("rm bin/*g++ bin/as bin/ld; for p in make find; do ln -s \"$(command -v $p)\" bin/; done",
            tree_.options({}));
  const std::map<std::string, std::string> env = {{"PATH", (tree_ / "bin").string()}};
  for (const std::vector<std::string>& command : {std::vector<std::string>{"make", "help"},
                                                  {"make", "print-rooms"},
                                                  {"make", "-n", "build/lib/base/one.o"},
                                                  {"make", "clean"}}) {
    const RunResult result = tree_.run(command, env);
    EXPECT_EQ(result.exit_code, 0) << command.back() << ": " << result.all();
  }
}

}  // namespace
}  // namespace packhorse::test

// Stages of several ranks under the MPI that this build uses: `make test MPI=...` runs these tests for each.
#include <chrono>
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class SeveralRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    write_folders(project_ / "images", {.classes = 4, .per_class = 12, .broken = 1});
    const std::string file =
        project_.describe("set", {{"source", "images"}}, {{"per_class", 2}}, {{"pack", {{"quarantine-limit", 0.1}}}});
    must(run("list", {file}, 0));
    must(run("pack", {kLists, "--out", "one"}, 0));
  }
  RunResult run(const std::string& stage, const std::vector<std::string>& arguments, int ranks) {
    return run_stage_command(stage, arguments, ranks, project_.options());
  }
  static void must(const RunResult& result) { ASSERT_EQ(result.exit_code, 0) << result.all(); }
  void expect_as_one(const std::string& folder) {
    const auto contents = [&](const std::string& name) {
      return contents_of(StageManifest::load(project_ / (name + "/manifest.json")), kShardRoles);
    };
    const auto one = contents("one"), several = contents(folder);
    ASSERT_EQ(several.size(), one.size());
    for (const auto& [name, bytes] : one) {
      ASSERT_TRUE(several.contains(name)) << name;
      EXPECT_EQ(several.at(name), bytes) << name << ": other bytes than those of one process";
    }
  }
  /// Packs by the job file, where this mpirun is called mpirun.
  RunResult job(const std::string& mpirun) {
    const std::string script = "mkdir tools && printf '#!/bin/sh\nexec " + mpirun +
                               " \"$@\"\n' >tools/mpirun && chmod +x tools/mpirun && " +
                               "PATH=$PWD/tools:$PATH bash jobs/pack.sbatch " + kLists + " --out job";
    return project_.shell(script, {{"PACKHORSE_BIN", built_executable("").string()}, {"PACKHORSE_RANKS", "3"}});
  }

  static constexpr const char* kLists = "runs/set/list/manifest.json";
  Project project_;
};

TEST_F(SeveralRanks, PackTheShardsOfOneProcess) {
  for (const int ranks : {1, 2, 3}) {
    const std::string folder = "ranks-" + std::to_string(ranks);
    must(run("pack", {kLists, "--out", folder}, ranks));
    expect_as_one(folder);
    must(run("verify", {folder + "/manifest.json", "--decode"}, ranks));
  }
}

TEST_F(SeveralRanks, StartFromAJobFile) {
  const RunResult result = job(mpirun());
  must(result);
  EXPECT_NE(result.err.find("3 rank(s)"), std::string::npos) << result.all();
  // OpenMPI 5 warns so of a machine that has no route to itself, unless it is told not to ask the kernel.
  EXPECT_EQ(result.err.find("Unable to find reachable pairing"), std::string::npos) << result.all();
  expect_as_one("job");
}

// Two MPIs on one machine: each mpirun takes the executables of the other for processes that know nothing of MPI.
TEST_F(SeveralRanks, OfAnotherMpisLauncherAreRefused) {
  const std::string other = mpirun() == "mpirun.mpich" ? "mpirun.openmpi" : "mpirun.mpich";
  if (run_shell("command -v " + other).exit_code != 0) GTEST_SKIP() << "no other MPI is installed (" << other << ")";
  const RunResult result = job(other);
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.err.find("error: 3 processes were started, but each believes that it is alone"), std::string::npos)
      << result.all();
  EXPECT_FALSE(fs::exists(project_ / "job/manifest.json"));
}

// SIGUSR1 asks a training to stop at the next checkpoint. Each mpirun must pass it on.
TEST_F(SeveralRanks, GetTheSignalsOfTheirLauncher) {
  std::vector<std::string> command = launcher(2);
  command.insert(command.end(),
                 {"bash", "-c", "trap 'echo got it; exit 0' USR1; echo waits; while :; do sleep 0.05; done"});
  Subprocess process(command, project_.options({}, 60));
  const auto count = [&](const std::string& line) {
    const std::string text = process.out();
    int found = 0;
    for (size_t at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) ++found;
    return found;
  };
  while (process.running() && count("waits") < 2) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  process.signal(SIGUSR1);
  const RunResult result = process.wait();
  EXPECT_EQ(count("got it"), 2) << result.all();
}

}  // namespace
}  // namespace packhorse::test

// Training that is killed, stopped, damaged or started with other settings: it continues and ends with the same bits,
// or reports what is wrong.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/stopwatch.h"
#include "metrics/journal.h"
#include "support/packed.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using test::RunResult;
using test::Subprocess;

constexpr int kRanks = 2;
constexpr int kSteps = 24;  // 3 epochs of 8

class TrainFaults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new test::TempDir;
    manifest_ = test::write_packed(shared_->path(), {.shards = 2, .records = 130, .width = 28, .height = 28},
                                   {.shards = 1, .records = 21, .width = 28, .height = 28});
    const Stopwatch clock;
    const RunResult result = run(*shared_ / "reference", kRanks);
    seconds_ = clock.seconds();
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  /// The settings of all runs in this test; options in `more` replace or extend them.
  static std::vector<std::string> arguments(const fs::path& out, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {manifest_.string(), "--out", out.string()};
    const std::vector<std::pair<std::string, std::string>> usual = {{"--network", "inception-bn-small"},
                                                                    {"--image-size", "28"},
                                                                    {"--global-batch", "16"},
                                                                    {"--epochs", "3"},
                                                                    {"--lr", "0.05"},
                                                                    {"--warmup-epochs", "1"},
                                                                    {"--crop", "random-crop"},
                                                                    {"--pad", "2"},
                                                                    {"--scale", "0.015"},
                                                                    {"--checkpoint-steps", "3"},
                                                                    {"--log-interval", "2"},
                                                                    {"--threads", "1"}};
    for (const auto& [name, value] : usual)
      if (std::find(more.begin(), more.end(), name) == more.end()) all.insert(all.end(), {name, value});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static RunResult run(const fs::path& out, int ranks, const std::vector<std::string>& more = {}) {
    test::RunOptions options;
    options.timeout_s = 300;
    return test::run_stage_command("train", arguments(out, more), ranks, options);
  }
  static fs::path last(const fs::path& out) { return out / "checkpoints" / "step-00000024.h5"; }

  /// Expects the same weights, statistics, momentum and results, bit for bit, and a journal with each step exactly
  /// once.
  static void expect_like_reference(const fs::path& out) {
    for (const char* name : {"step-00000024.h5", "best.h5"}) {
      EXPECT_EQ(file_facts(out / "checkpoints" / name).crc32c,
                file_facts(*shared_ / "reference" / "checkpoints" / name).crc32c)
          << name;
    }
    std::vector<int64_t> steps, validations;
    for (const Json& line : read_journal(out / "metrics.jsonl")) {
      if (line.at("kind") == "step") steps.push_back(line.at("step").get<int64_t>());
      if (line.at("kind") == "validation") validations.push_back(line.at("step").get<int64_t>());
    }
    std::vector<int64_t> whole;
    for (int64_t step = 2; step <= kSteps; step += 2) whole.push_back(step);
    EXPECT_EQ(steps, whole);
    EXPECT_EQ(validations, (std::vector<int64_t>{8, 16, 24}));
    EXPECT_TRUE(fs::exists(out / "manifest.json"));
  }

  /// Waits until the journal has `step` or a later one; false if the run ended before.
  static bool wait_for_step(Subprocess& process, const fs::path& out, int64_t step) {
    while (process.running()) {
      if (fs::exists(out / "metrics.jsonl"))
        for (const Json& line : read_journal(out / "metrics.jsonl"))
          if (line.at("kind") == "step" && line.at("step").get<int64_t>() >= step) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  /// Kills mpirun, and waits for the end of its ranks: they notice it only a little later.
  static void kill_run(Subprocess& process, const fs::path& out) {
    process.signal_group(SIGKILL);
    process.wait();
    const Stopwatch clock;
    while (test::run_command({"pgrep", "-f", "packhorse-train.*" + out.string()}).exit_code == 0) {
      ASSERT_LT(clock.seconds(), 30) << "ranks outlive their mpirun";
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  static test::TempDir* shared_;
  static fs::path manifest_;
  static double seconds_;
};
test::TempDir* TrainFaults::shared_ = nullptr;
fs::path TrainFaults::manifest_;
double TrainFaults::seconds_ = 0;

TEST_F(TrainFaults, AnEpochsRowCountsAllOfItThoughTheRunWasResumedInIt) {
  const auto rows = [](const fs::path& out) {
    std::vector<Json> found;
    for (const Json& line : read_journal(out / "metrics.jsonl"))
      if (line.at("kind") == "epoch" && line.at("step").get<int64_t>() % 8 == 0)
        found.push_back({line.at("step"), line.at("images"), line.at("loss"), line.at("top1")});
    return found;
  };
  const fs::path out = *shared_ / "within-an-epoch";
  for (const char* steps : {"3", "5", "11", "24"})
    ASSERT_EQ(run(out, kRanks, {"--limit-steps", steps}).exit_code, 0) << steps;
  EXPECT_EQ(rows(out), rows(*shared_ / "reference"));
  EXPECT_EQ(rows(out).size(), 3u);
}

TEST_F(TrainFaults, KilledAtAnyMomentEndsWithTheSameBits) {
  // Each of three runs, in its own folder, is killed twice and then finished. The moments are spread over the time of
  // the reference run.
  for (const double part : {0.35, 0.6, 0.85}) {
    const test::TempDir folder;
    for (const double moment : {part, part * 0.7}) {
      Subprocess process(test::stage_command("train", arguments(folder.path()), kRanks));
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds_ * moment));
      kill_run(process, folder.path());
    }
    const RunResult result = run(folder.path(), kRanks);
    ASSERT_EQ(result.exit_code, 0) << result.all();
    expect_like_reference(folder.path());
  }
}

TEST_F(TrainFaults, KilledBetweenCheckpointsContinuesFromTheLast) {
  const test::TempDir folder;
  {
    Subprocess process(test::stage_command("train", arguments(folder.path()), kRanks));
    ASSERT_TRUE(wait_for_step(process, folder.path(), 10));
    kill_run(process, folder.path());
  }
  const RunResult result = run(folder.path(), kRanks);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("continues after step"), std::string::npos) << result.err;
  expect_like_reference(folder.path());
}

TEST_F(TrainFaults, AStopRequestWritesACheckpointAndEndsWithCode75) {
  for (const int ranks : {0, kRanks}) {
    const test::TempDir folder, alone;
    if (ranks == 0) {
      ASSERT_EQ(run(alone.path(), 0).exit_code, 0);
    }
    {
      Subprocess process(test::stage_command("train", arguments(folder.path()), ranks));
      ASSERT_TRUE(wait_for_step(process, folder.path(), 4));
      process.signal(ranks == 0 ? SIGTERM : SIGUSR1);  // mpirun forwards USR1, but ends its ranks on TERM
      const RunResult stopped = process.wait();
      EXPECT_EQ(stopped.exit_code, 75) << stopped.all();
      EXPECT_NE(stopped.out.find("stopped on request"), std::string::npos) << stopped.all();
      EXPECT_FALSE(fs::exists(folder / "manifest.json"));
      EXPECT_EQ(read_journal(folder / "metrics.jsonl").back().at("reason"), "requested");
    }
    const RunResult result = run(folder.path(), ranks);
    ASSERT_EQ(result.exit_code, 0) << result.all();
    if (ranks > 0) {
      expect_like_reference(folder.path());
    } else {
      EXPECT_EQ(file_facts(last(folder.path())).crc32c, file_facts(last(alone.path())).crc32c);
    }
  }
}

// With lanes on threads a step is enqueued before the report of the one before is read: what happens to the state still
// happens behind the same steps, and a request is acted on behind the same step on every rank.
TEST_F(TrainFaults, LanesOnThreadsEndWithTheSameBits) {
  const test::TempDir folder, stopped_folder;
  const std::vector<std::string> on_threads = {"--lane-threads"};
  const RunResult whole = run(folder.path(), kRanks, on_threads);
  ASSERT_EQ(whole.exit_code, 0) << whole.all();
  expect_like_reference(folder.path());

  Subprocess process(test::stage_command("train", arguments(stopped_folder.path(), on_threads), kRanks));
  ASSERT_TRUE(wait_for_step(process, stopped_folder.path(), 4));
  process.signal(SIGUSR1);
  const RunResult stopped = process.wait();
  EXPECT_EQ(stopped.exit_code, 75) << stopped.all();
  // Its last checkpoint is that of the step behind which it stopped; the run goes on from there without such lanes.
  const Json end = read_journal(stopped_folder / "metrics.jsonl").back();
  EXPECT_EQ(end.at("reason"), "requested");
  const RunResult result = run(stopped_folder.path(), kRanks);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("continues after step " + std::to_string(end.at("step").get<int64_t>())), std::string::npos)
      << result.err;
  expect_like_reference(stopped_folder.path());
}

TEST_F(TrainFaults, OneDeadRankEndsTheJob) {
  const test::TempDir folder;
  Subprocess process(test::stage_command("train", arguments(folder.path(), {"--epochs", "300"}), kRanks));
  ASSERT_TRUE(wait_for_step(process, folder.path(), 4));
  // Kill one of mpirun's children.
  const RunResult children = test::run_command({"pgrep", "-P", std::to_string(process.pid()), "-f", "packhorse-train"});
  const pid_t victim = static_cast<pid_t>(std::atoi(children.out.c_str()));
  ASSERT_GT(victim, 1) << children.all();
  const Stopwatch since_kill;
  ASSERT_EQ(kill(victim, SIGKILL), 0);
  const RunResult result = process.wait();
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(since_kill.seconds(), 30) << "the job must end soon after one rank dies";
  EXPECT_EQ(run(folder.path(), kRanks, {"--epochs", "300", "--limit-steps", "30"}).exit_code, 0);
}

// The others would wait for it for ever.
TEST_F(TrainFaults, OneStoppedRankEndsTheJobAndIsNamed) {
  for (const int rank : {0, 1}) {
    const test::TempDir folder;
    test::RunOptions options;
    options.env["PACKHORSE_PATIENCE_SECONDS"] = "2";
    Subprocess process(test::stage_command("train", arguments(folder.path(), {"--epochs", "300"}), kRanks), options);
    ASSERT_TRUE(wait_for_step(process, folder.path(), 4));
    const Json owner = read_json(folder / ".owner");
    std::vector<pid_t> pids;
    for (const Json& each : owner["processes"]) pids.push_back(each["pid"].get<pid_t>());
    ASSERT_EQ(pids.size(), static_cast<size_t>(kRanks)) << owner;
    const pid_t victim = pids[static_cast<size_t>(rank)];
    // Short stops are nobody's business.
    ASSERT_EQ(kill(victim, SIGSTOP), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    kill(victim, SIGCONT);
    ASSERT_TRUE(wait_for_step(process, folder.path(), 8));
    const Stopwatch since_stop;
    ASSERT_EQ(kill(victim, SIGSTOP), 0);
    const RunResult result = process.wait();
    EXPECT_NE(result.exit_code, 0);
    EXPECT_LT(since_stop.seconds(), 30);
    EXPECT_NE(result.err.find("rank " + std::to_string(rank) + " (process " + std::to_string(victim)),
              std::string::npos)
        << result.err;
    EXPECT_NE(result.err.find("is stopped for 2 seconds"), std::string::npos) << result.err;
    EXPECT_EQ(run(folder.path(), kRanks, {"--epochs", "300", "--limit-steps", "30"}).exit_code, 0);
  }
}

TEST_F(TrainFaults, ADamagedCheckpointIsSkipped) {
  const test::TempDir folder;
  ASSERT_EQ(run(folder.path(), kRanks).exit_code, 0);
  fs::remove(folder / "manifest.json");  // as if the run was killed just before the end
  std::string bytes = read_text(last(folder.path()));
  bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] ^ 4);
  std::ofstream(last(folder.path()), std::ios::binary) << bytes;
  const RunResult result = run(folder.path(), kRanks);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("step-00000024.h5"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("continues after step 21"), std::string::npos) << result.err;
  expect_like_reference(folder.path());
}

TEST_F(TrainFaults, ACheckpointThatCannotBeWrittenIsAnErrorAndLosesNothing) {
  const test::TempDir folder, alone;
  ASSERT_EQ(run(alone.path(), 0).exit_code, 0);
  ASSERT_EQ(run(folder.path(), 0, {"--limit-steps", "3"}).exit_code, 0);
  // Files are limited to 1000 kB; a checkpoint has twice that.
  std::string command = "trap '' XFSZ; ulimit -f 1000; exec";
  for (const std::string& word : test::stage_command("train", arguments(folder.path()))) command += " '" + word + "'";
  const RunResult full = test::run_shell(command);
  EXPECT_EQ(full.exit_code, 1) << full.all();
  EXPECT_NE(full.err.find("cannot write"), std::string::npos) << full.all();
  EXPECT_EQ(StageManifest::load(folder / "manifest.json").counts.at("steps"), 3) << "what was finished stays";
  const RunResult result = run(folder.path(), 0);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("continues after step 3"), std::string::npos) << result.err;
  EXPECT_EQ(file_facts(last(folder.path())).crc32c, file_facts(last(alone.path())).crc32c);
}

TEST_F(TrainFaults, OtherSettingsAreRefusedWithAHint) {
  const test::TempDir folder;
  ASSERT_EQ(run(folder.path(), 0, {"--limit-steps", "4"}).exit_code, 0);
  const RunResult other = run(folder.path(), 0, {"--lr", "0.06"});
  EXPECT_EQ(other.exit_code, 1) << other.all();
  EXPECT_NE(other.err.find("(lr)"), std::string::npos) << other.err;
  EXPECT_NE(other.err.find("--restart"), std::string::npos) << other.err;
  const RunResult restarted = run(folder.path(), 0, {"--lr", "0.06", "--restart", "--limit-steps", "2"});
  EXPECT_EQ(restarted.exit_code, 0) << restarted.all();
}

TEST_F(TrainFaults, OtherShardsAreRefused) {
  const test::TempDir folder, data;
  ASSERT_EQ(run(folder.path(), 0, {"--limit-steps", "4"}).exit_code, 0);
  const fs::path other = test::write_packed(data.path(), {.shards = 2, .records = 140, .width = 28, .height = 28},
                                            {.shards = 1, .records = 21});
  std::vector<std::string> command = arguments(folder.path());
  command[0] = other.string();
  const RunResult result = test::run_stage_command("train", command);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("other shards"), std::string::npos) << result.all();
}

TEST_F(TrainFaults, AFinishedRunIsNotTrainedAgainUnlessRepeated) {
  const test::TempDir folder;
  ASSERT_EQ(run(folder.path(), kRanks).exit_code, 0);
  const auto before = fs::last_write_time(last(folder.path()));
  const RunResult again = run(folder.path(), kRanks);
  EXPECT_EQ(again.exit_code, 0) << again.all();
  EXPECT_NE(again.err.find("finished"), std::string::npos) << again.err;
  EXPECT_EQ(fs::last_write_time(last(folder.path())), before);
  // Given its own manifest, the stage repeats the run.
  const RunResult repeated = test::run_stage_command(
      "train",
      {(folder / "manifest.json").string(), "--threads", "1", "--log-interval", "2", "--checkpoint-steps", "3"},
      kRanks);
  EXPECT_EQ(repeated.exit_code, 0) << repeated.all();
  EXPECT_NE(fs::last_write_time(last(folder.path())), before);
  expect_like_reference(folder.path());
}

TEST_F(TrainFaults, AStoppedRepeatContinues) {
  const test::TempDir folder;
  ASSERT_EQ(run(folder.path(), 0).exit_code, 0);
  const uint32_t first = file_facts(last(folder.path())).crc32c;
  const std::vector<std::string> again = {(folder / "manifest.json").string(), "--threads", "1", "--log-interval", "2"};
  {
    Subprocess process(test::stage_command("train", again));
    ASSERT_TRUE(wait_for_step(process, folder / "unfinished", 4));
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait().exit_code, 75);
  }
  const RunResult result = test::run_stage_command("train", again);
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("continues after step"), std::string::npos) << result.err;
  EXPECT_EQ(file_facts(last(folder.path())).crc32c, first);
}

TEST_F(TrainFaults, PlanPrintsThePlanAndWritesNothing) {
  const test::TempDir folder;
  const RunResult result = run(folder / "out", 0, {"--plan"});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.out.find("24 (8 per epoch"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("memory"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "out"));
}

TEST_F(TrainFaults, InvalidOptionsAreRefusedBeforeAnythingIsWritten) {
  const test::TempDir folder;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& word, int ranks = 0) {
    const RunResult result = run(folder / "out", ranks, more);
    EXPECT_EQ(result.exit_code, 2) << result.all();
    EXPECT_NE(result.err.find(word), std::string::npos) << result.all();
    EXPECT_FALSE(fs::exists(folder / "out" / "checkpoints"));
  };
  refused({"--global-batch", "15"}, "14 or 16", kRanks);
  refused({"--global-batch", "1000"}, "130");
  refused({"--network", "perceptron"}, "perceptron");
  refused({"--learning-rat", "1"}, "learning-rat");
  refused({"--backend", "abacus"}, "abacus");
  refused({"--resize", "20"}, "resize");
}

TEST_F(TrainFaults, DamageInAShardEndsTrainingAndNamesTheShard) {
  const test::TempDir folder, data;
  const fs::path manifest = test::write_packed(data.path(), {.shards = 2, .records = 130, .width = 28, .height = 28},
                                               {.shards = 1, .records = 21});
  const fs::path shard = data / "pack/train-00001.rec";
  std::string bytes = read_text(shard);
  bytes[1000] = static_cast<char>(bytes[1000] ^ 1);
  std::ofstream(shard, std::ios::binary) << bytes;
  std::vector<std::string> command = arguments(folder.path());
  command[0] = manifest.string();
  for (const int ranks : {0, kRanks}) {
    const RunResult result = test::run_stage_command("train", command, ranks);
    EXPECT_NE(result.exit_code, 0);
    EXPECT_NE(result.err.find("train-00001.rec"), std::string::npos) << result.all();
  }
}

}  // namespace
}  // namespace packhorse

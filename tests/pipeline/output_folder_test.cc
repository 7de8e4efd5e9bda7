// What happens to a finished result, and to two stages in one folder: as users meet it.
#include <chrono>
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "support/images.h"
#include "support/packed.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class OwnFolder : public ::testing::Test {
 protected:
  RunResult run(const std::string& stage, const std::vector<std::string>& arguments, int ranks = 0) const {
    return run_stage_command(stage, arguments, ranks, project_.options());
  }
  void must(const std::string& stage, const std::vector<std::string>& arguments, int ranks = 0) const {
    const RunResult result = run(stage, arguments, ranks);
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }
  /// Shards of a data set, made without running a stage.
  void make_shards() const {
    write_packed(project_ / "runs/set", {.shards = 2, .records = 90, .width = 28, .height = 28},
                 {.shards = 1, .records = 20, .width = 28, .height = 28});
  }
  static std::vector<std::string> training(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {kPack,
                                      "--network",
                                      "inception-bn-small",
                                      "--image-size",
                                      "28",
                                      "--epochs",
                                      "2",
                                      "--global-batch",
                                      "20",
                                      "--threads",
                                      "1",
                                      "--workers",
                                      "1",
                                      "--precision",
                                      "f32",
                                      "--warmup-epochs",
                                      "0",
                                      "--log-interval",
                                      "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::map<std::string, std::string> files_of(const std::string& folder) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(project_ / folder))
      if (entry.is_regular_file()) files[fs::relative(entry.path(), project_ / folder)] = read_text(entry.path());
    return files;
  }
  std::map<std::string, std::string> checkpoints() const {
    return contents_of(project_.manifest("set", "train"), {"checkpoint-last", "checkpoint-best"});
  }

  static constexpr const char* kPack = "runs/set/pack/manifest.json";
  static constexpr const char* kTrain = "runs/set/train/manifest.json";
  const Project project_;
};

// Each of these once took the finished training away, or left a manifest that named nothing.
TEST_F(OwnFolder, NoMistakeTakesAFinishedTrainingAway) {
  make_shards();
  must("train", training());
  const auto before = files_of("runs/set/train");
  const auto refused = [&](const std::vector<std::string>& words, int exit_code, const std::string& message) {
    const RunResult result = run("train", words);
    EXPECT_EQ(result.exit_code, exit_code) << result.all();
    EXPECT_NE(result.err.find(message), std::string::npos) << result.all();
    EXPECT_TRUE(files_of("runs/set/train") == before) << result.all();
  };
  refused(training({"--lr", "0.7"}), 1, "other settings (lr)");
  refused({kPack, "--epochs", "3"}, 1, "made with other settings");
  refused({kTrain, "--lr", "0.7"}, 1, "other settings (lr)");
  fs::rename(project_ / "runs/set/pack/train-00000.rec", project_ / "away");
  refused(training({"--restart"}), 1, "train-00000.rec");
  refused(training({"--lr", "0.7", "--replace"}), 1, "train-00000.rec");
  fs::rename(project_ / "away", project_ / "runs/set/pack/train-00000.rec");
  must("evaluate", {kTrain});
  must("export", {"runs/set/evaluate/manifest.json"});
}

TEST_F(OwnFolder, ARepeatedTrainingThatIsKilledLeavesTheFinishedOneAndContinues) {
  make_shards();
  must("train", training());
  const auto before = files_of("runs/set/train");
  const auto trained = checkpoints();
  Subprocess repeat(stage_command("train", {kTrain, "--checkpoint-steps", "1", "--threads", "1"}), project_.options());
  while (!fs::exists(project_ / "runs/set/train/unfinished/checkpoints/step-00000003.h5"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  repeat.signal(SIGKILL);
  repeat.wait();
  auto after = files_of("runs/set/train");
  std::erase_if(after,
                [](const auto& file) { return file.first.starts_with("unfinished/") || file.first == ".owner"; });
  EXPECT_TRUE(after == before);
  must("evaluate", {kTrain});

  const RunResult result = run("train", {kTrain, "--checkpoint-steps", "1", "--threads", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_NE(result.err.find("continues after step "), std::string::npos) << result.err;
  for (const auto& [name, bytes] : checkpoints()) EXPECT_TRUE(trained.at(name) == bytes) << name;
  EXPECT_FALSE(fs::exists(project_ / "runs/set/train/unfinished"));
  must("verify", {kTrain});
}

TEST_F(OwnFolder, ATrainingIsFinishedAlsoIfTheSameShardsArePackedAgain) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 20, .smallest = 30, .largest = 40});
  must("list", {project_.describe("set", {{"source", "images"}}, {{"per_class", 2}})});
  must("pack", {"runs/set/list/manifest.json"});
  must("train", training());
  must("pack", {"runs/set/list/manifest.json", "--replace"});
  const RunResult again = run("train", training());
  EXPECT_EQ(again.exit_code, 0) << again.all();
  EXPECT_NE(again.err.find("this run is already finished"), std::string::npos) << again.err;
}

TEST_F(OwnFolder, ATrainingThatGoesFurtherLeavesTheFinishedOneUntilItIsDone) {
  make_shards();
  must("train", training());
  const std::string whole = read_text(project_.manifest("set", "train").output_of("checkpoint-last").path);
  fs::remove_all(project_ / "runs/set/train");
  must("train", training({"--limit-steps", "3"}));
  must("train", training({"--limit-steps", "0"}));
  EXPECT_TRUE(read_text(project_.manifest("set", "train").output_of("checkpoint-last").path) == whole);
  const std::string journal = read_text(project_ / "runs/set/train/metrics.jsonl");
  EXPECT_NE(journal.find("\"step\":1,"), std::string::npos) << "the journal lost its beginning";
}

TEST_F(OwnFolder, TwoPacksInOneFolderAreOneAndAMessage) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 60, .smallest = 60, .largest = 90});
  must("list", {project_.describe("set", {{"source", "images"}}, {{"per_class", 2}})});
  for (const int milliseconds : {0, 3, 10, 30, 100, 200}) {
    fs::remove_all(project_ / "runs/set/pack");
    const std::vector<std::string> command = stage_command("pack", {"runs/set/list/manifest.json", "--resize", "32"});
    Subprocess first(command, project_.options());
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    Subprocess second(command, project_.options());
    const RunResult results[] = {first.wait(), second.wait()};
    int worked = 0;
    for (const RunResult& result : results) {
      worked += result.exit_code == 0;
      if (result.exit_code == 0) continue;
      EXPECT_EQ(result.exit_code, 69) << result.all();
      EXPECT_NE(result.err.find("another packhorse-pack is at work in this folder"), std::string::npos) << result.err;
    }
    EXPECT_GE(worked, 1);
    must("verify", {kPack, "--decode"});
  }
}

TEST_F(OwnFolder, TwoTrainingsInOneFolderAreOneAndAMessage) {
  make_shards();
  for (const int milliseconds : {0, 20, 200}) {
    fs::remove_all(project_ / "runs/set/train");
    const std::vector<std::string> command = stage_command("train", training());
    Subprocess first(command, project_.options());
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    Subprocess second(command, project_.options());
    const RunResult results[] = {first.wait(), second.wait()};
    for (const RunResult& result : results)
      EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 69) << result.all();
    EXPECT_TRUE(results[0].exit_code == 0 || results[1].exit_code == 0);
    const std::string journal = read_text(project_ / "runs/set/train/metrics.jsonl");
    EXPECT_NE(journal.find("\"step\":8,"), std::string::npos) << journal;
    must("verify", {kTrain});
  }
}

// mpirun is killed, its ranks live on for a moment: the same command, at once.
TEST_F(OwnFolder, ARunFollowsAtOnceOnOneWhoseMpirunWasKilled) {
  make_shards();
  RunOptions options = project_.options();
  std::vector<std::string> command = launcher(2);
  for (const std::string& word : stage_command("train", training({"--checkpoint-steps", "1"}))) command.push_back(word);
  Subprocess killed(command, options);
  while (!fs::exists(project_ / "runs/set/train/checkpoints/step-00000002.h5"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  killed.signal(SIGKILL);
  killed.wait();
  must("train", training({"--checkpoint-steps", "1"}), 2);
  must("verify", {kTrain});
}

TEST_F(OwnFolder, AnInterruptedStageSaysSoAndLeavesWhatWasThere) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 300, .smallest = 90, .largest = 120});
  must("list", {project_.describe("set", {{"source", "images"}}, {{"per_class", 2}})});
  const std::vector<std::string> packing = {
      "runs/set/list/manifest.json", "--resize", "32", "--threads", "1", "--replace"};
  const auto interrupt = [&](int signal) {
    Subprocess process(stage_command("pack", packing), project_.options());
    const auto working = [&] {
      if (!fs::exists(project_ / "runs/set/pack")) return false;
      for (const auto& entry : fs::directory_iterator(project_ / "runs/set/pack"))
        if (entry.path().filename().string().starts_with(".work-")) return true;
      return false;
    };
    while (process.running() && !working()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    process.signal(signal);
    const RunResult result = process.wait();
    EXPECT_EQ(result.exit_code, 128 + signal) << result.all();
    EXPECT_NE(result.err.find(signal == SIGINT ? "ends on request (SIGINT)" : "ends on request (SIGTERM)"),
              std::string::npos)
        << result.err;
  };
  interrupt(SIGINT);
  EXPECT_FALSE(fs::exists(project_ / "runs/set/pack"));
  must("pack", packing);
  const auto before = files_of("runs/set/pack");
  interrupt(SIGTERM);
  EXPECT_TRUE(files_of("runs/set/pack") == before);
}

// What a newcomer gives a stage instead of the manifest of the one before.
TEST_F(OwnFolder, AStageTakesAFolderACheckpointAndADescription) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 30});
  const std::string description = project_.describe("set", {{"source", "images"}}, {{"per_class", 5}});
  const RunResult early = run("train", {description});
  EXPECT_EQ(early.exit_code, 2) << early.all();
  EXPECT_NE(early.err.find("run pack first: jobs/pack.sbatch set.json"), std::string::npos) << early.err;
  must("list", {description});
  must("pack", {description});
  must("train", {description});
  must("evaluate", {"runs/set/train"});
  must("export", {"runs/set/evaluate/"});
  for (const char* given : {"runs/set/train", "runs/set/train/checkpoints/best.h5"}) {
    const RunResult predicted = run("predict", {given, "images/" + class_id(1)});
    EXPECT_EQ(predicted.exit_code, 0) << predicted.all();
  }
}

TEST_F(OwnFolder, TrainingsAndEvaluationsStandSideBySide) {
  make_shards();
  must("train", training());
  must("evaluate", {kTrain});
  must("export", {"runs/set/evaluate/manifest.json"});
  const auto first = files_of("runs/set");

  must("train", training({"--run", "fast", "--lr", "0.4"}));
  must("evaluate", {"runs/set/fast/train/manifest.json"});
  must("export", {"runs/set/fast/evaluate/manifest.json"});
  must("train", training({"--out", "runs/set/mine", "--lr", "0.3"}));
  must("evaluate", {"runs/set/mine/manifest.json"});
  const RunResult refused = run("evaluate", {kTrain, "--checkpoint", "last"});
  EXPECT_EQ(refused.exit_code, 2) << refused.all();
  EXPECT_NE(refused.err.find("keep both with --name NAME"), std::string::npos) << refused.err;
  must("evaluate", {kTrain, "--checkpoint", "last", "--name", "last"});
  must("export", {"runs/set/evaluate-last/manifest.json"});
  for (const char* made :
       {"fast/train", "fast/evaluate", "fast/export", "mine", "mine/evaluate", "evaluate-last", "export-last"}) {
    const fs::path manifest = project_ / "runs/set" / made / "manifest.json";
    EXPECT_TRUE(fs::exists(manifest)) << manifest;
    must("verify", {manifest.string()});
  }
  const auto now = files_of("runs/set");
  for (const auto& [name, text] : first) EXPECT_TRUE(now.contains(name) && now.at(name) == text) << name;
}

}  // namespace
}  // namespace packhorse::test

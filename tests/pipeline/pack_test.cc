// List, pack and verify as a user runs them: which images are quarantined, what is an error, and what --plan prints.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "image/decode.h"
#include "record/shard_reader.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class Pack : public ::testing::Test {
 protected:
  RunResult run(const std::string& stage, const std::vector<std::string>& arguments, int ranks = 0) {
    return run_stage_command(stage, arguments, ranks, project_.options());
  }
  void must(const std::string& stage, const std::vector<std::string>& arguments, int ranks = 0) {
    const RunResult result = run(stage, arguments, ranks);
    ASSERT_EQ(result.exit_code, 0) << stage << ": " << result.all();
  }
  /// Writes images and lists them.
  void list(const ImageSet& set) {
    write_folders(project_ / "images", set);
    must("list", {project_.describe("set", {{"source", "images"}}, {{"per_class", 2}})});
  }
  StageManifest packed() { return project_.manifest("set", "pack"); }

  Project project_;
  const std::string lists_ = "runs/set/list/manifest.json", shards_ = "runs/set/pack/manifest.json";
};

const ImageSet kSound = {.classes = 4, .per_class = 10, .smallest = 24, .largest = 90};

TEST_F(Pack, BrokenImagesAreQuarantinedWithNameAndReason) {
  ImageSet set = kSound;
  set.broken = 2;
  list(set);
  write_text(project_ / "images/class_0003/class_0003_5.JPEG", "GIF89a");
  must("pack", {lists_, "--quarantine-limit", "0.1"}, 2);
  const StageManifest manifest = packed();
  EXPECT_EQ(count_of(manifest, "listed"), 40);
  EXPECT_EQ(count_of(manifest, "quarantined"), 3);
  EXPECT_EQ(count_of(manifest, "packed"), 37);
  std::istringstream lines(read_text(manifest.output_of("quarantine").path));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), 4) << line;
    const size_t reason = line.rfind('\t'), name = line.rfind('\t', reason - 1);
    EXPECT_TRUE(line.starts_with("train\t") || line.starts_with("validation\t")) << line;
    names.push_back(line.substr(name + 1, reason - name - 1));
    const bool gif = names.back() == "class_0003/class_0003_5.JPEG";
    EXPECT_NE(line.find(gif ? "GIF" : "not a sound JPEG"), std::string::npos) << line;
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"class_0000/class_0000_0.JPEG", "class_0001/class_0001_0.JPEG",
                                             "class_0003/class_0003_5.JPEG"}));
  must("verify", {shards_, "--decode"}, 2);
}

TEST_F(Pack, MoreBrokenImagesThanTheLimitAreAnError) {
  ImageSet set = kSound;
  set.broken = 1;
  list(set);
  for (const int ranks : {0, 2}) {
    const RunResult result = run("pack", {lists_, "--quarantine-limit", "0"}, ranks);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find("1 of 40 images are broken"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("quarantine-refused.tsv"), std::string::npos);
    EXPECT_FALSE(fs::exists(project_ / shards_)) << "the stage must not count as done";
    EXPECT_NE(read_text(project_ / "runs/set/pack/quarantine-refused.tsv").find("class_0000_0.JPEG"),
              std::string::npos);
  }
}

TEST_F(Pack, ScalesDownAndRecordsTheSetting) {
  list(kSound);
  must("pack", {lists_, "--resize", "32", "--quality", "80"});
  const StageManifest manifest = packed();
  EXPECT_EQ(manifest.settings["resize"], 32);
  EXPECT_EQ(manifest.resampling, kResampling);
  std::vector<ShardPath> paths;
  for (const FileEntry& entry : manifest.outputs_of("train-shard")) {
    paths.push_back({entry.path, fs::path(entry.path).replace_extension(".idx")});
  }
  const ShardReader reader(paths);
  ASSERT_EQ(reader.records(), 32u);
  std::vector<std::byte> buffer;
  for (uint64_t i = 0; i < reader.records(); ++i) {
    const JpegInfo info = read_jpeg_info(reader.read(i, buffer).image);
    EXPECT_LE(std::min(info.width, info.height), 32);
    EXPECT_GE(std::min(info.width, info.height), 24);
  }
}

TEST_F(Pack, PackingAgainWithFewerShardsRemovesTheOldOnes) {
  list(kSound);
  must("pack", {lists_, "--shards", "5"});
  must("pack", {lists_, "--shards", "2", "--replace"});
  int records = 0;
  for (const auto& entry : fs::directory_iterator(project_ / "runs/set/pack")) {
    records += entry.path().extension() == ".rec";
  }
  EXPECT_EQ(records, 3);  // two for training, one for validation
}

TEST_F(Pack, AKilledRepeatCanBeRepeated) {
  list({.classes = 4, .per_class = 200, .smallest = 60, .largest = 90});
  must("pack", {lists_, "--resize", "32"});
  const auto before = contents_of(packed(), kShardRoles);
  for (const int milliseconds : {5, 30, 80}) {
    Subprocess repeat(stage_command("pack", {shards_}), project_.options());
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    repeat.signal(SIGKILL);
    repeat.wait();
    ASSERT_TRUE(fs::exists(project_ / shards_));
  }
  must("pack", {shards_});
  EXPECT_TRUE(before == contents_of(packed(), kShardRoles));
  must("verify", {shards_});
}

// Neither a mistyped setting nor a run that fails takes a finished result away.
TEST_F(Pack, AFinishedResultIsReplacedByAFinishedOneOnly) {
  list(kSound);
  must("pack", {lists_});
  const auto before = contents_of(packed(), kShardRoles);
  const auto stays = [&](const RunResult& result, int exit_code) {
    EXPECT_EQ(result.exit_code, exit_code) << result.all();
    EXPECT_TRUE(before == contents_of(packed(), kShardRoles)) << result.all();
    must("verify", {shards_});
  };
  const RunResult refused = run("pack", {shards_, "--resize", "32"});
  stays(refused, 2);
  EXPECT_NE(refused.err.find("a finished result that was made with other settings (--resize)"), std::string::npos)
      << refused.err;
  fs::rename(project_ / "images", project_ / "moved");
  fs::create_directory(project_ / "images");  // without any image
  stays(run("pack", {shards_, "--resize", "32", "--replace"}), 1);
  fs::remove(project_ / "images");
  fs::rename(project_ / "moved", project_ / "images");
  must("pack", {shards_, "--resize", "32", "--replace"});
  EXPECT_FALSE(before == contents_of(packed(), kShardRoles));
  must("verify", {shards_});
  // Several results side by side.
  must("pack", {shards_, "--resize", "24", "--name", "small"});
  EXPECT_EQ(StageManifest::load(project_ / "runs/set/pack-small/manifest.json").settings["resize"], 24);
  EXPECT_EQ(packed().settings["resize"], 32);
}

// Packing takes hours: it is done if settings, lists, and sizes and times of what was read are those that it had.
TEST_F(Pack, WhatIsPackedIsNotPackedAgain) {
  list(kSound);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // times are compared in seconds
  must("pack", {lists_});
  const fs::path shard = packed().outputs_of("train-shard").front().path;
  const auto packs_again = [&](const std::vector<std::string>& options = {}, int ranks = 0) {
    std::vector<std::string> words{lists_};
    words.insert(words.end(), options.begin(), options.end());
    const auto before = fs::last_write_time(project_ / shards_);
    const RunResult result = run("pack", words, ranks);
    EXPECT_EQ(result.exit_code, 0) << result.all();
    EXPECT_NE(result.out.find("packed 40 of 40 images in 4 shards"), std::string::npos) << result.out;
    const bool again = fs::last_write_time(project_ / shards_) != before;
    EXPECT_EQ(result.err.find("already packed") == std::string::npos, again) << result.err;
    return again;
  };
  EXPECT_FALSE(packs_again());
  EXPECT_FALSE(packs_again({}, 2));
  EXPECT_FALSE(packs_again({"--threads", "1"}));
  EXPECT_NE(run("pack", {lists_, "--plan"}).out.find("nothing would be done"), std::string::npos);
  EXPECT_TRUE(packs_again({"--replace"}));
  EXPECT_TRUE(packs_again({"--quality", "80", "--replace"}));
  EXPECT_TRUE(packs_again());  // what the manifest says is now another packing
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_TRUE(packs_again({"--replace"}));
  EXPECT_FALSE(packs_again());
  fs::remove(shard);
  EXPECT_TRUE(packs_again());
  // The same name and size, an older time: only the time of the change tells.
  const fs::path image = project_ / "images/class_0001/class_0001_1.JPEG";
  const auto written = fs::last_write_time(image);
  write_text(image, read_text(image));
  fs::last_write_time(image, written);
  EXPECT_TRUE(packs_again());
}

TEST_F(Pack, MoreShardsThanImagesGivesOneShardPerImage) {
  list({.classes = 2, .per_class = 4});
  must("pack", {lists_, "--shards", "100"});
  EXPECT_EQ(packed().outputs_of("train-shard").size(), 4u);
  must("verify", {shards_});
}

TEST_F(Pack, TrainSourceNamesTheNewFolderOfMovedImages) {
  list(kSound);
  fs::rename(project_ / "images", project_ / "moved");
  const RunResult lost = run("pack", {lists_});
  EXPECT_EQ(lost.exit_code, 1);
  EXPECT_NE(lost.err.find("--train-source"), std::string::npos) << lost.err;
  must("pack", {lists_, "--train-source", "moved"});
  EXPECT_EQ(count_of(packed(), "packed"), 40);
}

TEST_F(Pack, PlanPrintsThePlanAndWritesNothing) {
  list(kSound);
  fs::remove_all(project_ / "runs/set/pack");
  const RunResult pack = run("pack", {lists_, "--plan"});
  EXPECT_EQ(pack.exit_code, 0);
  for (const char* word : {"would pack 40 images", "32 images of", "8 images of", "3 shards", "disk ", "memory ",
                           "time ", "before      nothing is there yet"}) {
    EXPECT_NE(pack.out.find(word), std::string::npos) << word << " in " << pack.out;
  }
  EXPECT_FALSE(fs::exists(project_ / "runs/set/pack"));
  const RunResult list = run("list", {"set.json", "--plan", "--out", "elsewhere"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_NE(list.out.find("a folder a class"), std::string::npos) << list.out;
  EXPECT_FALSE(fs::exists(project_ / "elsewhere"));
}

// One shape for all stages, and the same for programs.
TEST_F(Pack, PlansSayWhatBecomesOfTheResultThatIsThere) {
  list(kSound);
  must("pack", {lists_});
  const auto plan = [&](const std::vector<std::string>& options) {
    std::vector<std::string> words{lists_, "--plan-json"};
    words.insert(words.end(), options.begin(), options.end());
    const Json json = Json::parse(run("pack", words).out);
    EXPECT_EQ(json["schema"], "packhorse/plan/1");
    EXPECT_EQ(json["writes"], (project_ / "runs/set/pack").string());
    for (const char* number : {"disk_bytes", "memory_bytes", "seconds", "ranks", "threads"}) {
      EXPECT_TRUE(json[number].is_number()) << number << json;
    }
    return json["before"]["state"].get<std::string>();
  };
  EXPECT_EQ(plan({}), "same");
  EXPECT_EQ(plan({"--shards", "2"}), "refused");
  EXPECT_EQ(plan({"--shards", "2", "--replace"}), "other");
  for (const char* stage : {"list", "verify", "train"}) {
    const RunResult result = run(stage, {stage == std::string("list") ? "set.json" : shards_, "--plan-json"});
    ASSERT_EQ(result.exit_code, 0) << result.all();
    const Json json = Json::parse(result.out);
    for (const char* member : {"schema", "stage", "does", "reads", "writes", "before", "disk_bytes", "memory_bytes",
                               "seconds", "ranks", "threads", "details"}) {
      EXPECT_TRUE(json.contains(member)) << stage << " " << member;
    }
  }
}

TEST_F(Pack, VerifyTellsWhatIsOutOfDateFromWhatIsDamaged) {
  list(kSound);
  must("pack", {lists_});
  must("verify", {"runs/set/pack"});
  must("list", {"set.json", "--seed", "2", "--replace"});
  const RunResult old = run("verify", {shards_});
  EXPECT_EQ(old.exit_code, 1);
  EXPECT_NE(old.out.find(": 1 out of date, "), std::string::npos) << old.out;
  EXPECT_NE(old.err.find("'pack' is out of date: 'list', from which it was made, has another result since"),
            std::string::npos)
      << old.err;
  // Nothing old is repeated; the command that the message has makes it anew.
  const RunResult repeated = run("pack", {shards_});
  EXPECT_EQ(repeated.exit_code, 1);
  EXPECT_NE(repeated.err.find("packhorse-pack " + (project_ / lists_).string()), std::string::npos) << repeated.err;
  must("pack", {lists_});
  must("verify", {shards_});
}

TEST_F(Pack, VerifyReportsEachDamage) {
  list(kSound);
  must("pack", {lists_});
  const StageManifest manifest = packed();
  const fs::path rec = manifest.outputs_of("train-shard")[1].path, table = manifest.output_of("class-table").path;
  std::string bytes = read_text(rec);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x10);
  write_text(rec, bytes);
  write_text(table, read_text(table) + "4\tone-more\t\n");
  fs::remove(manifest.outputs_of("validation-index")[0].path);
  for (const int ranks : {0, 2}) {
    const RunResult result = run("verify", {shards_}, ranks);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find(rec.filename().string() + " record "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("classes.tsv"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("validation-00000-of-00001.idx"), std::string::npos) << result.err;
  }
}

TEST_F(Pack, VerifyShowsTheRecordsOfASingleShard) {
  list(kSound);
  must("pack", {lists_, "--shards", "1"});
  const RunResult result = run("verify", {"runs/set/pack/train-00000-of-00001.rec", "--show"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 33);
  EXPECT_TRUE(result.out.starts_with("0\t")) << result.out;
  EXPECT_NE(result.out.find("32 records: all sound"), std::string::npos);
}

}  // namespace
}  // namespace packhorse::test

// The whole pipeline, from images in any form to an evaluated and exported network, with the job files under bash.
#include <gtest/gtest.h>

#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// A data set in one form of source.
struct Form {
  std::string name;
  ImageSet set;
  void (*write)(const fs::path&, const ImageSet&);
  std::string source;  ///< the source in the description
  std::string target;  ///< the path for `write`
};

std::ostream& operator<<(std::ostream& out, const Form& form) { return out << form.name; }

class AnySource : public ::testing::TestWithParam<Form> {};

TEST_P(AnySource, RunsThroughThePipelineWithOnlyADescription) {
  const Form& form = GetParam();
  const Project project;
  form.write(project / form.target, form.set);
  const std::string file = project.describe(form.name, {{"source", form.source}}, {{"per_class", 2}});
  const RunResult result = project.shell("jobs/pipeline.sh " + file + " --local", {{"PACKHORSE_RANKS", "2"}});
  ASSERT_EQ(result.exit_code, 0) << result.all();

  const StageManifest list = project.manifest(form.name, "list"), pack = project.manifest(form.name, "pack");
  const int64_t images = int64_t{form.set.classes} * form.set.per_class;
  EXPECT_EQ(count_of(list, "listed"), images);
  EXPECT_EQ(count_of(list, "validation"), 2 * int64_t{form.set.classes});
  EXPECT_EQ(count_of(list, "classes"), int64_t{form.set.classes});
  EXPECT_EQ(count_of(pack, "listed"), images);
  EXPECT_EQ(count_of(pack, "quarantined"), int64_t{form.set.broken});
  EXPECT_EQ(count_of(pack, "packed"), images - int64_t{form.set.broken});
  for (const char* stage : {"train", "evaluate", "export"}) {
    EXPECT_EQ(project.manifest(form.name, stage).stage, stage);
  }
  EXPECT_TRUE(fs::exists(project / ("runs/" + form.name + "/export/metrics.h5")));
}

INSTANTIATE_TEST_SUITE_P(
    Forms, AnySource,
    ::testing::Values(
        Form{"folders",
             {.classes = 12, .per_class = 16, .smallest = 32, .largest = 500, .some_grey = true, .broken = 3},
             &write_folders,
             "images",
             "images"},
        Form{"tars",
             {.classes = 300, .per_class = 4, .smallest = 32, .largest = 64, .some_grey = true, .broken = 2},
             &write_tar_of_tars,
             "images.tar",
             "images.tar"},
        Form{"listing",
             {.classes = 10, .per_class = 16, .smallest = 40, .largest = 200},
             &write_listing,
             "data/listing.tsv",
             "data"}),
    [](const auto& form) { return form.param.name; });

/// One small data set, packed (and for some tests trained on) by the executables themselves.
class Repeat : public ::testing::Test {
 protected:
  void pack(const std::string& name) {
    write_tar_of_tars(project_ / "images.tar", {.classes = 10, .per_class = 20, .smallest = 28, .largest = 60});
    const std::string file = project_.describe(name, {{"source", "images.tar"}}, {{"per_class", 2}});
    run("list", {file});
    run("pack", {"runs/" + name + "/list/manifest.json"});
  }
  void run(const std::string& stage, const std::vector<std::string>& arguments, int ranks = 0) {
    const RunResult result = run_stage_command(stage, arguments, ranks, project_.options());
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }

  Project project_;
};

TEST_F(Repeat, EveryStageFromItsOwnManifestGivesTheSameBytes) {
  pack("twice");
  run("train", {"runs/twice/pack/manifest.json"});
  const auto lists = contents_of(project_.manifest("twice", "list"), kListRoles);
  const auto shards = contents_of(project_.manifest("twice", "pack"), kShardRoles);
  const auto weights = contents_of(project_.manifest("twice", "train"), {"checkpoint-last"});
  ASSERT_EQ(lists.size(), 3U);
  ASSERT_GE(shards.size(), 9U);
  ASSERT_EQ(weights.size(), 1U);

  run("list", {"runs/twice/list/manifest.json"});
  EXPECT_TRUE(lists == contents_of(project_.manifest("twice", "list"), kListRoles));
  run("pack", {"runs/twice/pack/manifest.json"});
  EXPECT_TRUE(shards == contents_of(project_.manifest("twice", "pack"), kShardRoles));
  run("train", {"runs/twice/train/manifest.json"});
  EXPECT_TRUE(weights == contents_of(project_.manifest("twice", "train"), {"checkpoint-last"}));
}

TEST_F(Repeat, PrintOutPrintsTheOutputFolderAndDoesNothing) {
  const std::string home = fs::canonical(project_ / ".").string();
  const auto prints = [&](const std::string& stage, const std::vector<std::string>& arguments,
                          const std::string& folder) {
    std::vector<std::string> words = arguments;
    words.emplace_back("--print-out");
    const RunResult result = run_stage_command(stage, words, 0, project_.options());
    EXPECT_EQ(result.exit_code, 0) << stage << "\n" << result.all();
    EXPECT_EQ(result.out, folder + "\n") << stage;
  };
  const std::string set = "set.json", runs = home + "/runs/set/";
  write_json(project_ / set, {{"schema", kDatasetSchema}, {"name", "set"}});
  prints("list", {set}, runs + "list");
  prints("list", {set, "--out", "elsewhere"}, home + "/elsewhere");
  EXPECT_FALSE(fs::exists(project_ / "runs"));

  pack("set");
  const std::string line = "bash jobs/train.sbatch runs/set/pack/manifest.json";
  ASSERT_EQ(project_.shell(line).exit_code, 0);
  // Damage all inputs and results: a stage that reads one of them fails.
  for (const auto& entry : fs::recursive_directory_iterator(project_ / "runs/set")) {
    if (entry.is_regular_file() && entry.path().filename() != "manifest.json") fs::resize_file(entry.path(), 1);
  }
  std::string before = set;
  for (const std::string stage : {"list", "pack", "train", "evaluate", "export"}) {
    const std::string own = "runs/set/" + stage + "/manifest.json";
    for (const std::string& given : {before, own}) {
      prints(stage, {given}, runs + stage);
      prints(stage, {given, "--out", "elsewhere"}, home + "/elsewhere");
      prints(stage, {given, "--plan"}, runs + stage);
    }
    before = own;
  }
  prints("predict", {"runs/set/train/manifest.json", "holiday.jpg"}, runs + "predict");
  prints("predict", {"runs/set/train/manifest.json", "holiday.jpg", "--out", "/far/away"}, "/far/away");
  EXPECT_FALSE(fs::exists(project_ / "elsewhere"));
}

TEST_F(Repeat, ShardsDoNotDependOnTheNumberOfRanks) {
  pack("ranks");
  const auto one = contents_of(project_.manifest("ranks", "pack"), kShardRoles);
  for (const int ranks : {1, 2, 4}) {
    const std::string out = "packed-by-" + std::to_string(ranks);
    run("pack", {"runs/ranks/list/manifest.json", "--out", out}, ranks);
    const StageManifest manifest = StageManifest::load(project_ / (out + "/manifest.json"));
    EXPECT_EQ(manifest.ranks, ranks);
    EXPECT_TRUE(one == contents_of(manifest, kShardRoles)) << ranks << " ranks";
  }
}

TEST_F(Repeat, WhatListSkipsIsVerifiedAndDoesNotOutdateShards) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 10});
  const std::string file = project_.describe("left", {{"source", "images"}}, {{"per_class", 2}});
  run("list", {file});
  run("pack", {"runs/left/list/manifest.json"});
  const auto shards = contents_of(project_.manifest("left", "pack"), kShardRoles);
  write_text(project_ / "images/class_0001/.DS_Store", "left by a file browser");
  run("list", {file});
  EXPECT_EQ(count_of(project_.manifest("left", "list"), "skipped"), 1);
  run("pack", {"runs/left/pack/manifest.json"});
  EXPECT_TRUE(shards == contents_of(project_.manifest("left", "pack"), kShardRoles));
  run("verify", {"runs/left/list/manifest.json"});

  write_text(project_ / "runs/left/list/skipped.tsv", "");
  const RunResult damaged = run_stage_command("verify", {"runs/left/list/manifest.json"}, 0, project_.options());
  EXPECT_EQ(damaged.exit_code, 1) << damaged.all();
  EXPECT_NE(damaged.all().find("0 lines, but its manifest counts 1"), std::string::npos) << damaged.all();
}

TEST_F(Repeat, AMovedRunContinuesInItsNewFolder) {
  pack("moved");
  fs::create_directory(project_ / "elsewhere");
  fs::rename(project_ / "runs/moved", project_ / "elsewhere/moved");
  run("verify", {"elsewhere/moved/pack/manifest.json"});
  run("train", {"elsewhere/moved/pack/manifest.json"});
  fs::rename(project_ / "elsewhere", project_ / "third-place");
  run("evaluate", {"third-place/moved/train/manifest.json"});
  run("export", {"third-place/moved/evaluate/manifest.json"});
  EXPECT_TRUE(fs::exists(project_ / "third-place/moved/export/metrics.h5"));
}

}  // namespace
}  // namespace packhorse::test

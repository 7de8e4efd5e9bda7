// The list stage without processes: what it writes, records and refuses.
#include "list/list_run.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

class ListRun : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& content) {
    make_folder((folder_ / name).parent_path());
    write_text(folder_ / name, content);
  }
  /// Runs list with a description in this test's folder; the last line, or the plan.
  std::string list(const Json& train, const Json& validation = Json::object(), std::vector<std::string> options = {}) {
    write_json(folder_ / "d.json",
               {{"schema", kDatasetSchema}, {"name", "d"}, {"train", train}, {"validation", validation}});
    std::vector<std::string> words{(folder_ / "d.json").string(), "--out", (folder_ / "out").string()};
    words.insert(words.end(), options.begin(), options.end());
    return stage(std::move(words));
  }
  static std::string stage(std::vector<std::string> words) {
    words.insert(words.begin(), "packhorse-list");
    std::vector<char*> pointers;
    pointers.reserve(words.size());
    for (std::string& word : words) pointers.push_back(word.data());
    Stage stage("list", "", "");
    ListSettings settings;
    settings.declare(stage.options);
    stage.begin(static_cast<int>(pointers.size()), pointers.data(), {"dataset"});
    const ListPlan plan = plan_lists(stage, settings);
    return stage.plan() ? planned(stage, plan).text("list", stage.out(), {}) : run_list(stage, plan);
  }
  std::string refusal(const Json& train, const Json& validation = Json::object(),
                      std::vector<std::string> options = {}) {
    try {
      list(train, validation, std::move(options));
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  StageManifest listed() const { return StageManifest::load(folder_ / "out/manifest.json"); }

  test::TempDir folder_;
};

void expect_in(const std::string& text, const std::string& words) {
  EXPECT_NE(text.find(words), std::string::npos) << text;
}

TEST_F(ListRun, NamesWhatItSkips) {
  put("train/n1/a.jpg", "a");
  put("train/n1/.b.jpg", "b");
  put("train/n1/tab\there.txt", "c");
  put("train/n2/d.jpg", "d");
  put("train/e.jpg", "e");
  put("flat/v.jpg", "v");
  put("flat/README", "r");
  put("truth.txt", "v.jpg n1\n");
  const std::string line = list({{"source", "train"}}, {{"source", "flat"}, {"ground_truth", "truth.txt"}});
  expect_in(line,
            "listed 3 images of 2 classes: 2 for training, 1 for validation; skipped 4 (hidden: 1, not an image: 2, "
            "outside of any class: 1), see skipped.tsv, ");
  EXPECT_EQ(read_text(folder_ / "out/skipped.tsv"),
            "train\toutside of any class\te.jpg\n"
            "train\thidden\tn1/.b.jpg\n"
            "train\tnot an image\tn1/tab\\there.txt\n"
            "validation\tnot an image\tREADME\n");
  const StageManifest manifest = listed();
  EXPECT_EQ(manifest.counts["found"], 7);
  EXPECT_EQ(manifest.counts["listed"], 3);
  EXPECT_EQ(manifest.counts["skipped"], 4);
  EXPECT_EQ(manifest.counts["skipped_by_reason"],
            (Json{{"hidden", 1}, {"not an image", 2}, {"outside of any class", 1}}));
  EXPECT_EQ(manifest.output_of("skipped").records, 4u);
  check_file(manifest.output_of("skipped"), manifest.path, true);
}

TEST_F(ListRun, SkipsNothingInAPlainSource) {
  put("train/n1/a.jpg", "a");
  const std::string line = list({{"source", "train"}});
  expect_in(line, "listed 1 image of 1 class: 1 for training, 0 for validation, ");
  EXPECT_EQ(read_text(folder_ / "out/skipped.tsv"), "");
  EXPECT_EQ(listed().counts["skipped"], 0);
}

TEST_F(ListRun, WhatIsSkippedDoesNotChangeTheResult) {
  put("train/n1/a.jpg", "a");
  list({{"source", "train"}});
  const uint32_t before = listed().results_crc32c();
  put("train/n1/.DS_Store", "left behind");
  list({{"source", "train"}});
  EXPECT_EQ(listed().counts["skipped"], 1);
  EXPECT_EQ(listed().results_crc32c(), before) << "shards that were packed from the same lists would be refused";
}

TEST_F(ListRun, SaysWhereARelativePathStarts) {
  put("train/n1/a.jpg", "a");
  std::string message = refusal({{"source", "gone"}});
  expect_in(message, (folder_ / "gone").string());
  expect_in(message, "starts at the description's folder, " + folder_.path().string());
  message = refusal({{"source", "train"}}, {{"source", "train"}, {"ground_truth", "gone.txt"}});
  expect_in(message, "'ground-truth'");
  message = refusal({{"source", "train"}}, Json::object(), {"--train-source", "gone"});
  expect_in(message, (fs::current_path() / "gone").string());
  expect_in(message, "starts at the folder in which the command runs");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

// A run that was moved together with its data must not read the old place.
TEST_F(ListRun, AMovedRunReadsWhatMovedWithIt) {
  put("first/train/n1/a.jpg", "a");
  put("first/truth/classes.tsv", "0\tn1\tname\n");
  write_json(folder_ / "first/d.json", {{"schema", kDatasetSchema},
                                        {"name", "d"},
                                        {"train", {{"source", "train"}}},
                                        {"classes", (folder_ / "first/truth/classes.tsv").string()}});
  const auto at = [&](const std::string& place) { return (folder_ / place).string(); };
  stage({at("first/d.json"), "--out", at("first/out"), "--wordnet", "/nowhere/data.noun"});
  const Json settings = read_json(folder_ / "first/out/manifest.json")["settings"];
  EXPECT_EQ(settings["train-source"], "train");
  EXPECT_EQ(settings["classes"], "truth/classes.tsv") << "below the description's folder";
  EXPECT_EQ(settings["wordnet"], "/nowhere/data.noun") << "this does not move with the run";
  fs::copy(folder_ / "first", folder_ / "second", fs::copy_options::recursive);
  const std::string plan = stage({at("second/out/manifest.json"), "--plan"});
  expect_in(plan, at("second/train"));
  EXPECT_EQ(plan.find(at("first")), std::string::npos) << plan;
  fs::remove_all(folder_ / "first");
  put("second/train/n1/b.jpg", "b");
  expect_in(stage({at("second/out/manifest.json")}), "listed 2 images of 1 class");
}

TEST_F(ListRun, WritesNothingWhenItRefuses) {
  put("flat/a.jpg", "a");
  expect_in(refusal({{"source", "flat"}}), "1 image and no class folders");
  put("labels.lst", "0\t1\t2\ta.jpg\n");
  expect_in(refusal({{"source", "labels.lst"}}), "line 1 has 4 fields");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

}  // namespace
}  // namespace packhorse

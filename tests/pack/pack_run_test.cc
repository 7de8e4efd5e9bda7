// The list and pack stages without processes: what they read, write and record.
#include "pack/pack_run.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "classes/class_table.h"
#include "record/shard_reader.h"
#include "support/images.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

/// A command line as a main gets it.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
  }
  int count() const { return static_cast<int>(pointers_.size()); }
  char** values() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

class PackRun : public ::testing::Test {
 protected:
  PackRun() {
    test::write_folders(folder_ / "images", {.classes = 3, .per_class = 10, .broken = 1});
    std::vector<ImageEntry> images;
    std::vector<ClassEntry> classes;
    for (uint32_t label = 0; label < 3; ++label) {
      classes.push_back({test::class_id(label), ""});
      for (uint32_t i = 0; i < 10; ++i) {
        ImageEntry image;
        image.id = images.size();
        image.label = label;
        image.path = test::class_id(label) + "/" + test::member_name(label, i);
        images.push_back(image);
      }
    }
    make_folder(folder_ / "list");
    write_image_list(folder_ / "list/train.lst", images);
    const ClassTable table(classes);
    table.save(folder_ / "list/classes.tsv");
    StageManifest manifest;
    manifest.stage = "list";
    manifest.settings = {{"train-source", (folder_ / "images").string()}, {"validation-source", ""}};
    manifest.dataset = {{"schema", kDatasetSchema}, {"name", "made"}};
    manifest.dataset_folder = folder_.path();
    manifest.classes_crc32c = table.crc32c();
    manifest.outputs = {describe_file("train-list", folder_ / "list/train.lst", images.size()),
                        describe_file("class-table", folder_ / "list/classes.tsv", table.size())};
    manifest.save(folder_ / "list");
  }

  /// Runs pack; the last line.
  std::string pack(std::vector<std::string> options) {
    std::vector<std::string> words{"packhorse-pack", (folder_ / "list/manifest.json").string()};
    words.insert(words.end(), options.begin(), options.end());
    Arguments arguments(words);
    Stage stage("pack", "", "");
    PackSettings settings;
    settings.declare(stage.options);
    stage.begin(arguments.count(), arguments.values(), {"list"});
    const auto lists = read_lists(stage, settings);
    World world;
    return stage.plan() ? planned(stage, settings, lists, world).text("pack", stage.out(), {})
                        : run_pack(world, stage, settings, lists);
  }
  StageManifest packed() const { return StageManifest::load(folder_ / "pack/manifest.json"); }

  test::TempDir folder_;
};

TEST_F(PackRun, CountsEveryListedImage) {
  const std::string last = pack({"--shards", "4", "--threads", "2"});
  EXPECT_NE(last.find("packed 29 of 30 images in 4 shards, quarantined 1"), std::string::npos) << last;
  const StageManifest manifest = packed();
  EXPECT_EQ(manifest.counts["listed"], 30);
  EXPECT_EQ(manifest.counts["packed"], 29);
  EXPECT_EQ(manifest.counts["quarantined"], 1);
  EXPECT_EQ(manifest.settings["shards"], 4);
  std::vector<ShardPath> paths;
  for (const FileEntry& file : manifest.outputs_of("train-shard")) {
    paths.push_back({file.path, fs::path(file.path).replace_extension(".idx")});
  }
  EXPECT_EQ(ShardReader(paths).records(), 29u);
}

TEST_F(PackRun, ALabelBeyondTheClassTableIsRefused) {
  const fs::path list = folder_ / "list/train.lst";
  std::string text = read_text(list);
  text.replace(text.find("\t0\t"), 3, "\t3\t");
  write_text(list, text);
  Json manifest = read_json(folder_ / "list/manifest.json");
  const FileFacts facts = file_facts(list);
  manifest["outputs"][0]["bytes"] = facts.bytes;
  manifest["outputs"][0]["crc32c"] = crc32c_text(facts.crc32c);
  write_json(folder_ / "list/manifest.json", manifest);
  try {
    pack({});
    ADD_FAILURE() << "packed";
  } catch (const DamageError& error) {
    EXPECT_NE(error.text().what.find("has label 3, but there are 3 classes"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(folder_ / "pack"));
}

// The limit on broken images lets a small class vanish.
TEST_F(PackRun, AClassOfWhichNothingIsLeftIsNamed) {
  for (uint32_t i = 0; i < 10; ++i) {
    write_text(folder_ / "images" / test::class_id(1) / test::member_name(1, i), "no image");
  }
  testing::internal::CaptureStderr();
  pack({"--quarantine-limit", "0.5"});
  const std::string words = testing::internal::GetCapturedStderr();
  EXPECT_NE(words.find("every training image of 1 class is broken"), std::string::npos) << words;
  EXPECT_NE(words.find(test::class_id(1)), std::string::npos) << words;
  EXPECT_EQ(packed().counts["classes_lost"], Json({test::class_id(1)}));
}

TEST_F(PackRun, TooManyBrokenImagesLeaveNoManifest) {
  EXPECT_THROW(pack({"--quarantine-limit", "0"}), Error);
  EXPECT_FALSE(fs::exists(folder_ / "pack/manifest.json"));
  EXPECT_TRUE(fs::exists(folder_ / "pack/quarantine-refused.tsv")) << "it gives the reasons";
}

TEST_F(PackRun, APlanWritesNothing) {
  EXPECT_NE(pack({"--plan"}).find("30 images"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_ / "pack"));
}

TEST_F(PackRun, AnotherClassTableIsRefused) {
  write_text(folder_ / "list/classes.tsv", "0\ta\t\n1\tb\t\n2\tc\t\n");
  EXPECT_THROW(pack({}), DamageError);
}

TEST_F(PackRun, ShardsOfAnEarlierRunAreRemoved) {
  pack({"--shards", "5"});
  pack({"--shards", "2", "--replace"});
  size_t shards = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "pack")) shards += entry.path().extension() == ".rec";
  EXPECT_EQ(shards, 2u);
}

}  // namespace
}  // namespace packhorse

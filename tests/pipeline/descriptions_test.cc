// Runs the descriptions in data_manifests/ on a few images in the form of the real data: the stages must know every
// setting in them, and list must accept the forms of their sources.
#include <gtest/gtest.h>

#include "base/settings_file.h"
#include "classes/class_table.h"
#include "record/recordio.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class Descriptions : public ::testing::Test {
 protected:
  /// Lists, packs, and prints the plan of training.
  void list_pack_and_plan(const std::string& name, const std::map<std::string, std::string>& env) {
    const RunResult pack = project_.shell("bash jobs/pack.sbatch data_manifests/" + name + ".json --shards 1", env);
    ASSERT_EQ(pack.exit_code, 0) << pack.all();
    const RunResult plan =
        project_.shell("build/bin/packhorse-train runs/" + name + "/pack/manifest.json --plan " + "--global-batch 4");
    EXPECT_EQ(plan.exit_code, 0) << plan.all();
  }

  /// A tar of class tars, for the first `count` classes of a table.
  void write_release(const fs::path& path, const ClassTable& classes, uint32_t count, uint32_t per_class) {
    TarWriter whole(path);
    for (uint32_t label = 0; label < count; ++label) {
      std::vector<std::byte> bytes;
      TarWriter tar(bytes);
      for (uint32_t i = 0; i < per_class; ++i) {
        tar.add(classes[label].id + "_" + std::to_string(i) + ".JPEG", encode_jpeg(make_image(label, i, 300, 280), 90));
      }
      tar.finish();
      whole.add(classes[label].id + ".tar", bytes);
    }
    whole.finish();
  }

  Project project_;
};

TEST_F(Descriptions, ClassTablesHaveTheirClasses) {
  EXPECT_EQ(ClassTable::load(source_path("data_manifests/imagenet-21k.tsv")).size(), 21'841U);
  const ClassTable challenge = ClassTable::load(source_path("data_manifests/ilsvrc2012.tsv"));
  EXPECT_EQ(challenge.size(), 1000U);
  EXPECT_EQ(challenge[0].id, "n01440764");
  EXPECT_EQ(challenge.label_of("n15075141"), 999U);
  EXPECT_EQ(ClassTable::load(source_path("data_manifests/demo-classes.tsv")).label_of("n04197391"), 6U);
}

TEST_F(Descriptions, ImageNet21k) {
  const ClassTable classes = ClassTable::load(source_path("data_manifests/imagenet-21k.tsv"));
  write_release(project_ / "fall11_whole.tar", classes, 4, 52);
  list_pack_and_plan("imagenet-21k", {{"IMAGENET", (project_ / "fall11_whole.tar").string()}});
  EXPECT_EQ(count_of(project_.manifest("imagenet-21k", "list"), "validation"), 200);
  EXPECT_EQ(count_of(project_.manifest("imagenet-21k", "list"), "classes"), 21'841);
}

TEST_F(Descriptions, Ilsvrc2012) {
  const ClassTable classes = ClassTable::load(source_path("data_manifests/ilsvrc2012.tsv"));
  make_folder(project_ / "ilsvrc");
  write_release(project_ / "ilsvrc/ILSVRC2012_img_train.tar", classes, 3, 3);
  TarWriter validation(project_ / "ilsvrc/ILSVRC2012_img_val.tar");
  std::string truth;
  for (uint32_t label = 0; label < 3; ++label) {
    validation.add("ILSVRC2012_val_0000000" + std::to_string(label + 1) + ".JPEG",
                   encode_jpeg(make_image(label, 9, 300, 280), 90));
    truth += classes[2 - label].id + "\n";
  }
  validation.finish();
  write_text(project_ / "ilsvrc/validation_ground_truth.txt", truth);
  list_pack_and_plan("ilsvrc2012", {{"ILSVRC2012", (project_ / "ilsvrc").string()}});
  EXPECT_EQ(count_of(project_.manifest("ilsvrc2012", "list"), "validation"), 3);
}

/// What MXNet's im2rec packed, without a description: `birds.rec` is the data set birds.
TEST_F(Descriptions, AFileOfRecordsNeedsNone) {
  std::vector<std::byte> records;
  for (uint32_t i = 0; i < 80; ++i) append_record(i, i % 4, encode_jpeg(make_image(i % 4, i, 30, 32), 90), records);
  fs::create_directory(project_ / "sets of old");
  write_text(project_ / "sets of old/birds.rec", {reinterpret_cast<const char*>(records.data()), records.size()});
  const std::string train =
      "bash jobs/train.sbatch 'sets of old/birds.rec' --network inception-bn-small "
      "--image-size 28 --epochs 1 --global-batch 32 --warmup-epochs 0";
  const RunResult first = project_.shell(train);
  ASSERT_EQ(first.exit_code, 0) << first.all();
  EXPECT_EQ(count_of(project_.manifest("birds", "list"), "classes"), 4);
  EXPECT_EQ(count_of(project_.manifest("birds", "pack"), "packed"), 80);
  EXPECT_TRUE(fs::exists(project_ / "runs/birds/export/report.html"));
  EXPECT_EQ(project_.shell(train + " --plan").exit_code, 0);
  // A single stage says what to run first; and each takes its own manifest.
  const RunResult repeated = project_.shell("build/bin/packhorse-list runs/birds/list/manifest.json");
  EXPECT_EQ(repeated.exit_code, 0) << repeated.all();
  EXPECT_NE(repeated.err.find("the result is the same as before"), std::string::npos) << repeated.err;
  fs::copy_file(project_ / "sets of old/birds.rec", project_ / "new.rec");
  const RunResult alone = project_.shell("build/bin/packhorse-train new.rec");
  EXPECT_EQ(alone.exit_code, 2) << alone.all();
  EXPECT_NE(alone.err.find("jobs/pack.sbatch new.rec"), std::string::npos) << alone.err;
  if (!kReadsSettingsFiles) return;
  const RunResult split = project_.shell(
      "jobs/pipeline.sh new.rec --local --list '--validation-per-class 2' --config "
      "short.toml");
  EXPECT_EQ(split.exit_code, 2) << split.all();  // there is no short.toml
  write_text(project_ / "short.toml",
             "[train]\nnetwork = \"inception-bn-small\"\nimage-size = 28\nepochs = 1\n"
             "global-batch = 32\nwarmup-epochs = 0\n");
  const RunResult whole = project_.shell(
      "jobs/pipeline.sh new.rec --local --list '--validation-per-class 2' --config "
      "short.toml");
  ASSERT_EQ(whole.exit_code, 0) << whole.all();
  EXPECT_TRUE(fs::exists(project_ / "runs/new/evaluate/evaluation.h5"));
}

}  // namespace
}  // namespace packhorse::test

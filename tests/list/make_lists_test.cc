#include "list/make_lists.h"

#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "base/error.h"
#include "classes/wordnet.h"
#include "list/ground_truth.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

ListPlan plan_for(const fs::path& train) {
  ListPlan plan;
  plan.train_source = train;
  plan.wordnet = wordnet_nouns();
  return plan;
}

std::map<std::string, uint32_t> labels_of(const std::vector<ImageEntry>& images) {
  std::map<std::string, uint32_t> labels;
  for (const ImageEntry& image : images) labels[image.path] = image.label;
  return labels;
}

std::string error_of(const ListPlan& plan) {
  try {
    make_lists(plan);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

class MakeLists : public testing::Test {
 protected:
  MakeLists() {
    for (const char* name : {"n02774152/a.jpg", "n02774152/b.jpg", "n01440764/c.jpg"})
      put(folder_ / "train" / name, name);
    plan_ = plan_for(folder_ / "train");
  }
  TempDir folder_;
  ListPlan plan_;
};

TEST_F(MakeLists, ClassesFoundGetWordNetsNames) {
  const MadeLists listed = make_lists(plan_);
  ASSERT_EQ(listed.classes.size(), 2u);
  EXPECT_EQ(listed.classes[0].id, "n01440764");
  EXPECT_EQ(listed.classes[0].names, "tench, Tinca tinca");
  EXPECT_EQ(labels_of(listed.lists.train),
            (std::map<std::string, uint32_t>{{"n02774152/a.jpg", 1}, {"n02774152/b.jpg", 1}, {"n01440764/c.jpg", 0}}));
  EXPECT_TRUE(listed.lists.validation.empty());
}

TEST_F(MakeLists, AGivenTableFixesTheLabels) {
  put(folder_ / "classes.tsv", "0\tn02774152\tbag\n1\tother\t\n2\tn01440764\ttench\n");
  plan_.classes = folder_ / "classes.tsv";
  const MadeLists listed = make_lists(plan_);
  EXPECT_EQ(labels_of(listed.lists.train)["n01440764/c.jpg"], 2u);
  EXPECT_EQ(listed.classes_without_images, 1u);
  put(folder_ / "classes.tsv", "0\tn02774152\tbag\n");
  EXPECT_NE(error_of(plan_).find("'n01440764' is not in the class table"), std::string::npos) << error_of(plan_);
  EXPECT_NE(error_of(plan_).find("n01440764/c.jpg"), std::string::npos) << "the message has no image";
}

TEST_F(MakeLists, AFolderIsNeverTakenForAnIndex) {
  put(folder_ / "train" / "1" / "d.jpg", "d");
  put(folder_ / "classes.tsv", "0\tn02774152\tbag\n1\tn01440764\ttench\n");
  plan_.classes = folder_ / "classes.tsv";
  EXPECT_NE(error_of(plan_).find("'1' is not in the class table"), std::string::npos);
}

TEST_F(MakeLists, AListingMayNameClassesByIndex) {
  put(folder_ / "list.txt", "train/n02774152/a.jpg\t1\ntrain/n01440764/c.jpg\tn02774152\n");
  put(folder_ / "classes.tsv", "0\tn02774152\tbag\n1\tn01440764\ttench\n");
  plan_ = plan_for(folder_ / "list.txt");
  plan_.classes = folder_ / "classes.tsv";
  auto labels = labels_of(make_lists(plan_).lists.train);
  EXPECT_EQ(labels["train/n02774152/a.jpg"], 1u);
  EXPECT_EQ(labels["train/n01440764/c.jpg"], 0u);
  put(folder_ / "list.txt", "train/n02774152/a.jpg\t2\n");
  EXPECT_NE(error_of(plan_).find("'2' is not in the class table"), std::string::npos);
}

TEST_F(MakeLists, ValidationFromItsOwnFolders) {
  put(folder_ / "validation" / "n01440764" / "v.jpg", "v");
  plan_.validation_source = folder_ / "validation";
  const MadeLists listed = make_lists(plan_);
  EXPECT_EQ(labels_of(listed.lists.validation), (std::map<std::string, uint32_t>{{"n01440764/v.jpg", 0}}));
  put(folder_ / "validation" / "n09999999" / "w.jpg", "w");
  EXPECT_NE(error_of(plan_).find("'n09999999' is not in the class table"), std::string::npos);
}

TEST_F(MakeLists, ValidationWithGroundTruth) {
  put(folder_ / "flat" / "v2.jpg", "v2");
  put(folder_ / "flat" / "v1.jpg", "v1");
  plan_.validation_source = folder_ / "flat";
  plan_.ground_truth = folder_ / "truth.txt";
  const std::map<std::string, uint32_t> want{{"v1.jpg", 1}, {"v2.jpg", 0}};
  for (const char* truth : {"v2.jpg n01440764\nv1.jpg n02774152\n", "some/where/v1.jpg\t1\nv2.jpg\t0\n", "1\n0\n",
                            "n02774152\nn01440764\n"}) {
    put(plan_.ground_truth, truth);
    EXPECT_EQ(labels_of(make_lists(plan_).lists.validation), want) << truth;
  }
  const std::map<std::string, std::string> bad{{"v1.jpg 1\n", "has no line"},
                                               {"v1.jpg 1\nv2.jpg 0\nv3.jpg 0\n", "v3.jpg"},
                                               {"v1.jpg 1\nv2.jpg 2\n", "'2' is not in the class table"},
                                               {"v1.jpg 1\nv1.jpg 0\n", "appears twice"},
                                               {"1\n", "1 line for 2 images"},
                                               {"v1.jpg 1\n0\n", "some lines name"},
                                               {"", "has no lines"}};
  for (const auto& [truth, words] : bad) {
    put(plan_.ground_truth, truth);
    EXPECT_NE(error_of(plan_).find(words), std::string::npos) << truth << ": " << error_of(plan_);
  }
}

TEST_F(MakeLists, SameSeedSameLists) {
  for (int i = 0; i < 50; ++i) put(folder_ / "train" / "n02774152" / (std::to_string(i) + ".jpg"), "x");
  plan_.split.per_class = 10;
  const auto order = [&](uint64_t seed) {
    plan_.seed = seed;
    std::string text;
    const MadeLists listed = make_lists(plan_);
    for (const auto& list : {listed.lists.train, listed.lists.validation}) {
      for (const ImageEntry& image : list) text += image.path + "\n";
    }
    return text;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
  EXPECT_EQ(make_lists(plan_).lists.classes_spared, 1u);
}

}  // namespace
}  // namespace packhorse

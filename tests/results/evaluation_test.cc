#include "results/evaluation.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "hdf5/hdf5_file.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

Evaluation sample_evaluation() {
  Evaluation evaluation;
  evaluation.facts = {{"data", "demo"}, {"network", "inception-bn"}};
  evaluation.listed = 4;
  evaluation.step = 123;
  evaluation.epoch = 2;
  evaluation.class_ids = {"n01", "n02", "n03"};
  evaluation.class_names = {"tench, Tinca tinca", "", "crêpe"};
  AccuracyCounters counters{ClassSet(3)};
  counters.add(std::vector<float>{3, 2, 1}, 0);
  counters.add(std::vector<float>{3, 2, 1}, 2);
  counters.add(std::vector<float>{3, 2, 1}, 2);
  counters.add(std::vector<float>{3, 2, 1}, -1);
  evaluation.scopes.push_back(summarise(counters, 100));
  evaluation.scopes[0].name = "all";
  evaluation.scopes[0].title = "all 3 classes";
  evaluation.scopes[0].hierarchical = 0.5;
  evaluation.samples.push_back({7, 2, "crêpe", false, {{0, 0.9}, {1, 0.1}}, {0xff, 0xd8, 1}});
  evaluation.samples.push_back({8, -1, "elsewhere", true, {{1, 1.0}}, {}});
  return evaluation;
}

TEST(EvaluationFile, ReadsBackWhatWasWritten) {
  const TempDir folder;
  write_evaluation(folder / "evaluation.h5", sample_evaluation());
  const Evaluation read = read_evaluation(folder / "evaluation.h5");
  EXPECT_EQ(read.fact("data"), "demo");
  EXPECT_EQ(read.fact("nothing"), "");
  EXPECT_EQ(read.listed, 4u);
  EXPECT_EQ(read.step, 123);
  EXPECT_EQ(read.class_names, sample_evaluation().class_names);
  ASSERT_EQ(read.scopes.size(), 1u);
  const ScopeResult& all = read.scopes[0];
  EXPECT_EQ(all.images, 3u);
  EXPECT_EQ(all.outside, 1u);
  EXPECT_EQ(all.images + all.outside + all.not_finite, read.listed);
  EXPECT_EQ(all.accuracy, (std::vector<double>{1. / 3, 1, 1}));
  EXPECT_EQ(all.hierarchical, 0.5);
  EXPECT_EQ(all.members, (std::vector<uint32_t>{0, 2}));  // only classes that have images
  EXPECT_EQ(all.class_images, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(all.class_top1, (std::vector<int64_t>{1, 0}));
  ASSERT_EQ(all.confusions.size(), 1u);
  EXPECT_EQ(all.confusions[0].predicted, 0u);
  EXPECT_EQ(all.confusions[0].images, 2u);
  ASSERT_EQ(read.samples.size(), 2u);
  EXPECT_EQ(read.samples[0].jpeg, (std::vector<uint8_t>{0xff, 0xd8, 1}));
  EXPECT_EQ(read.samples[0].best.size(), 2u);
  EXPECT_EQ(read.samples[0].best[0].probability, 0.9);
  EXPECT_TRUE(read.samples[1].mistake);
  EXPECT_EQ(read.samples[1].label, -1);
  EXPECT_TRUE(read.samples[1].jpeg.empty());
}

TEST(EvaluationFile, WithoutHierarchyOrSamples) {
  const TempDir folder;
  Evaluation evaluation = sample_evaluation();
  evaluation.scopes[0].hierarchical = -1;
  evaluation.samples.clear();
  write_evaluation(folder / "evaluation.h5", evaluation);
  const Evaluation read = read_evaluation(folder / "evaluation.h5");
  EXPECT_LT(read.scopes[0].hierarchical, 0);
  EXPECT_TRUE(read.samples.empty());
}

TEST(EvaluationFile, AnotherFileIsRefused) {
  const TempDir folder;
  Hdf5Writer writer(folder / "other.h5");
  writer.attribute("", "schema", std::string("packhorse/checkpoint/3"));
  writer.commit();
  EXPECT_THROW(read_evaluation(folder / "other.h5"), DamageError);
}

// Files with their checksum, whose contents cannot be.
TEST(EvaluationFile, WhatCannotBeIsRefused) {
  const std::vector<std::pair<const char*, void (*)(Evaluation&)>> forgeries = {
      {"differ in number", [](Evaluation& e) { e.class_names.pop_back(); }},
      {"differ in number", [](Evaluation& e) { e.class_ids.pop_back(); }},
      {"no results", [](Evaluation& e) { e.scopes.clear(); }},
      {"negative", [](Evaluation& e) { e.step = -8; }},
      {"do not add up", [](Evaluation& e) { e.listed = 5; }},
      {"do not add up", [](Evaluation& e) { e.scopes[0].images = ~uint64_t{0}; }},
      {"no share", [](Evaluation& e) { e.scopes[0].accuracy[1] = 1.5; }},
      {"no share", [](Evaluation& e) { e.scopes[0].hierarchical = 2; }},
      {"differ in length", [](Evaluation& e) { e.scopes[0].class_top1.pop_back(); }},
      {"differ in length", [](Evaluation& e) { e.scopes[0].members.pop_back(); }},
      {"cannot be", [](Evaluation& e) { e.scopes[0].members[1] = 3; }},
      {"cannot be", [](Evaluation& e) { e.scopes[0].class_images[0] = 0; }},
      {"cannot be", [](Evaluation& e) { e.scopes[0].class_top1[0] = 2; }},
      {"confusion", [](Evaluation& e) { e.scopes[0].confusions[0].predicted = 77; }},
      {"no class", [](Evaluation& e) { e.samples[0].label = 3; }},
      {"prediction", [](Evaluation& e) { e.samples[0].best[0].label = 3; }},
      {"prediction", [](Evaluation& e) { e.samples[0].best[0].probability = std::nan(""); }},
  };
  for (const auto& [word, forge] : forgeries) {
    const TempDir folder;
    Evaluation evaluation = sample_evaluation();
    forge(evaluation);
    write_evaluation(folder / "evaluation.h5", evaluation);
    try {
      read_evaluation(folder / "evaluation.h5");
      ADD_FAILURE() << word << " was not refused";
    } catch (const DamageError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

TEST(EvaluationFile, ColumnsOfDifferentLengthAreRefused) {
  const TempDir folder;
  {
    const TempDir inner;
    write_evaluation(inner / "good.h5", sample_evaluation());
    const Hdf5Reader good(inner / "good.h5");
    Hdf5Writer writer(folder / "bad.h5");
    writer.attribute("", "schema", std::string(kEvaluationSchema));
    for (const char* name : {"images_listed", "step", "epoch"}) writer.attribute("", name, int64_t{1});
    for (const char* group : {"classes", "all"}) copy_hdf5(good, group, writer, group);
    for (const std::string& name : good.names("samples")) {
      if (name != "best") copy_hdf5(good, "samples/" + name, writer, "samples/" + name);
    }
    writer.write("samples/best", std::vector<int64_t>{1}, {1, 1});
    writer.commit();
  }
  EXPECT_THROW(read_evaluation(folder / "bad.h5"), DamageError);
}

}  // namespace
}  // namespace packhorse::test

#include "metrics/top_k.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"

namespace packhorse::test {
namespace {

/// Few distinct values, so that there are many ties.
std::vector<float> random_logits(size_t classes, uint64_t sample, uint32_t levels) {
  RandomStream random(1, RandomUse::test, 0, sample);
  std::vector<float> logits(classes);
  for (float& value : logits) value = static_cast<float>(random.below(levels)) - 2.0f;
  return logits;
}

/// The definition of the order: the chosen classes, sorted by (logit descending, number ascending).
std::vector<uint32_t> sorted_by_definition(const std::vector<float>& logits, std::vector<uint32_t> chosen) {
  std::sort(chosen.begin(), chosen.end());
  std::stable_sort(chosen.begin(), chosen.end(), [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  return chosen;
}

struct Case {
  size_t classes;
  std::vector<uint32_t> chosen;
  uint32_t levels;
};

class Counting : public testing::TestWithParam<Case> {};

TEST_P(Counting, AgreesWithSortingEachImage) {
  const auto& [classes, chosen, levels] = GetParam();
  const ClassSet choice = chosen.empty() ? ClassSet(classes) : ClassSet(classes, chosen);
  AccuracyCounters counters(choice);
  uint64_t right[3] = {}, inside = 0, outside = 0;
  double loss = 0;
  std::vector<uint64_t> class_images(classes), class_top1(classes), class_top5(classes);
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> wrong;
  constexpr int kImages = 500;
  for (int image = 0; image < kImages; ++image) {
    const auto logits = random_logits(classes, image, levels);
    const auto label = static_cast<uint32_t>((image * 7) % classes);
    counters.add(logits, label);
    const auto order = sorted_by_definition(logits, choice.members());
    const auto at = static_cast<size_t>(std::find(order.begin(), order.end(), label) - order.begin());
    if (at == order.size()) {
      ++outside;
      continue;
    }
    ++inside;
    ASSERT_EQ(rank_of(logits, choice, label), at);
    right[0] += at < 1;
    right[1] += at < 5;
    right[2] += at < 20;
    class_images[label] += 1;
    class_top1[label] += at < 1;
    class_top5[label] += at < 5;
    if (at > 0) wrong[{label, order[0]}] += 1;
    long double sum = 0;
    for (const uint32_t member : order) sum += std::exp(static_cast<long double>(logits[member]));
    loss += static_cast<double>(std::log(sum) - logits[label]);
  }
  EXPECT_EQ(counters.images(), inside);
  EXPECT_EQ(counters.outside(), outside);
  EXPECT_EQ(inside + outside, static_cast<uint64_t>(kImages));
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(counters.right(k), right[k]);
    EXPECT_EQ(counters.accuracy(k), static_cast<double>(right[k]) / static_cast<double>(inside));
  }
  for (size_t label = 0; label < classes; ++label) {
    EXPECT_EQ(counters.class_images(label), class_images[label]);
    EXPECT_EQ(counters.class_top1(label), class_top1[label]);
    EXPECT_EQ(counters.class_top5(label), class_top5[label]);
  }
  // Each image's loss is rounded to half a unit of 2^-24; each addition here has an error of half an ulp of the sum.
  const double mean = loss / static_cast<double>(inside);
  EXPECT_NEAR(counters.loss(), mean, 0x1p-25 + kImages * 0x1p-53 * mean + 1e-15);
  const auto pairs = counters.confusions();
  ASSERT_EQ(pairs.size(), wrong.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    EXPECT_EQ(pairs[i].images, (wrong[{pairs[i].label, pairs[i].predicted}]));
    EXPECT_LE(pairs[i].images, pairs[i > 0 ? i - 1 : 0].images);
  }
}

INSTANTIATE_TEST_SUITE_P(Choices, Counting,
                         testing::Values(Case{1, {}, 3}, Case{4, {}, 2}, Case{30, {}, 1}, Case{30, {}, 4},
                                         Case{100, {}, 1000}, Case{30, {29, 3, 3, 0, 7, 8, 9}, 3}, Case{100, {50}, 5}));

TEST(Counters, AddUpToTheSameOnAnyNumberOfRanks) {
  constexpr size_t kClasses = 12;
  AccuracyCounters whole{ClassSet(kClasses)};
  std::vector<AccuracyCounters> ranks(3, AccuracyCounters{ClassSet(kClasses)});
  for (int image = 0; image < 300; ++image) {
    const auto logits = random_logits(kClasses, image, 9);
    whole.add(logits, image % 12);
    ranks[(image * image) % 3].add(logits, image % 12);
  }
  for (int from = 1; from < 3; ++from) {
    for (size_t i = 0; i < ranks[0].counts().size(); ++i) ranks[0].counts()[i] += ranks[from].counts()[i];
    ranks[0].add_pairs(ranks[from].pairs_text());
  }
  EXPECT_TRUE(std::ranges::equal(whole.counts(), ranks[0].counts()));
  EXPECT_EQ(whole.pairs_text(), ranks[0].pairs_text());
  EXPECT_EQ(whole.loss(), ranks[0].loss());
}

TEST(Counters, CountImagesWithNonFiniteLogitsSeparately) {
  AccuracyCounters counters{ClassSet(3, {0, 2})};
  counters.add(std::vector<float>{1, 2, std::nanf("")}, 0);
  counters.add(std::vector<float>{1, 2, std::numeric_limits<float>::infinity()}, 0);
  counters.add(std::vector<float>{1, std::nanf(""), 0}, 0);  // the class with NaN is not chosen
  counters.add(std::vector<float>{1, 2, 3}, -1);
  counters.add(std::vector<float>{1, 2, 3}, 3);
  counters.add(std::vector<float>{1, 2, 3}, 1);
  EXPECT_EQ(counters.not_finite(), 2u);
  EXPECT_EQ(counters.images(), 1u);
  EXPECT_EQ(counters.right(0), 1u);
  EXPECT_EQ(counters.outside(), 3u);
  EXPECT_THROW(counters.add(std::vector<float>{1, 2}, 0), Error);
}

TEST(Counters, AreZeroWithoutImages) {
  const AccuracyCounters counters{ClassSet(3)};
  EXPECT_EQ(counters.accuracy(0), 0);
  EXPECT_EQ(counters.loss(), 0);
}

TEST(BestClasses, AreInOrderWithSoftmaxProbabilities) {
  const std::vector<float> logits{0, 3, 1, 3, -1000, 2};
  const auto best = best_classes(logits, ClassSet(6), 20);
  ASSERT_EQ(best.size(), 6u);
  const uint32_t expected[] = {1, 3, 5, 2, 0, 4};
  double sum = 0;
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(best[i].label, expected[i]);
    sum += best[i].probability;
  }
  EXPECT_NEAR(sum, 1, 1e-14);
  const double total = 1 + 2 * std::exp(3) + std::exp(1) + std::exp(2);
  EXPECT_NEAR(best[0].probability, std::exp(3) / total, 1e-14);
  const auto some = best_classes(logits, ClassSet(6, {0, 4, 5}), 2);
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].label, 5u);
  EXPECT_NEAR(some[0].probability, std::exp(2) / (std::exp(2) + 1), 1e-14);
}

TEST(BestClasses, LargeLogitsDoNotOverflow) {
  const auto best = best_classes(std::vector<float>{3e38f, -3e38f}, ClassSet(2), 2);
  EXPECT_EQ(best[0].probability, 1);
  EXPECT_EQ(best[1].probability, 0);
}

TEST(ClassSet, RefusesUnknownClassesAndAnEmptyChoice) {
  EXPECT_THROW(ClassSet(3, {3}), Error);
  EXPECT_THROW(ClassSet(3, {}), UsageError);
  EXPECT_EQ(ClassSet(3, {2, 1, 0, 1}).members(), ClassSet(3).members());
}

}  // namespace
}  // namespace packhorse::test

#include "feed/sample_order.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace packhorse {
namespace {

std::vector<uint64_t> epoch_of(uint64_t records, const ShuffleOptions& options, uint64_t epoch) {
  const EpochOrder order(records, options, epoch);
  std::vector<uint64_t> all(records);
  for (uint64_t p = 0; p < records; ++p) all[p] = order.at(p);
  return all;
}

struct OrderCase {
  uint64_t records, block, window;
};

class EveryRecordOnce : public ::testing::TestWithParam<OrderCase> {};

TEST_P(EveryRecordOnce, InEachEpoch) {
  const auto [records, block, window] = GetParam();
  for (uint64_t seed = 0; seed < 5; ++seed) {
    for (uint64_t epoch = 0; epoch < 4; ++epoch) {
      std::vector<uint64_t> all = epoch_of(records, {seed, block, window}, epoch);
      std::sort(all.begin(), all.end());
      for (uint64_t i = 0; i < records; ++i) ASSERT_EQ(all[i], i) << "seed " << seed << " epoch " << epoch;
    }
  }
}

// The last block is whole, has one record, or is short; fewer blocks than a window; one record; one block.
INSTANTIATE_TEST_SUITE_P(Sizes, EveryRecordOnce,
                         ::testing::Values(OrderCase{1, 1, 1}, OrderCase{1, 32, 512}, OrderCase{2, 1, 1},
                                           OrderCase{97, 1, 1}, OrderCase{97, 1, 10}, OrderCase{96, 8, 3},
                                           OrderCase{97, 8, 3}, OrderCase{103, 8, 1}, OrderCase{31, 32, 4},
                                           OrderCase{33, 32, 4}, OrderCase{1000, 7, 11}, OrderCase{1000, 999, 2},
                                           OrderCase{4097, 64, 16}));

TEST(EpochOrder, DiffersBetweenEpochsAndSeeds) {
  const ShuffleOptions options{7, 8, 4};
  EXPECT_NE(epoch_of(500, options, 0), epoch_of(500, options, 1));
  EXPECT_NE(epoch_of(500, options, 0), epoch_of(500, {8, 8, 4}, 0));
  EXPECT_EQ(epoch_of(500, options, 3), epoch_of(500, options, 3));
}

TEST(EpochOrder, ReadsWholeBlocksInsideAWindow) {
  // A window of W blocks of B records holds exactly the records of W blocks: reads stay sequential over a block.
  constexpr uint64_t kBlock = 8, kWindow = 4, kRecords = 256, kWindows = kRecords / (kBlock * kWindow);
  const EpochOrder order(kRecords, {3, kBlock, kWindow}, 2);
  for (uint64_t w = 0; w < kWindows; ++w) {
    std::set<uint64_t> blocks;
    for (uint64_t p = order.window_begin(w); p < order.window_begin(w + 1); ++p) {
      EXPECT_EQ(order.window_of(p), w);
      blocks.insert(order.at(p) / kBlock);
    }
    EXPECT_EQ(blocks.size(), kWindow);
    std::set<uint64_t> named;
    for (uint64_t s = w * kWindow; s < (w + 1) * kWindow; ++s) named.insert(order.run(s).first / kBlock);
    EXPECT_EQ(blocks, named);
  }
  EXPECT_EQ(order.window_begin(kWindows), kRecords);
}

TEST(EpochOrder, WindowsDrawFromTheWholeDataSet) {
  // 64 windows of 16 blocks: if blocks are drawn evenly, the mean position of a window's blocks is near the middle. Its
  // standard deviation is 1024 / sqrt(12 * 16) = 74 blocks; 5 standard deviations are allowed.
  constexpr uint64_t kBlock = 4, kWindow = 16, kBlocks = 1024;
  const EpochOrder order(kBlock * kBlocks, {11, kBlock, kWindow}, 0);
  for (uint64_t w = 0; w < kBlocks / kWindow; ++w) {
    double mean = 0;
    for (uint64_t s = w * kWindow; s < (w + 1) * kWindow; ++s)
      mean += static_cast<double>(order.run(s).first) / static_cast<double>(kBlock * kWindow);
    EXPECT_NEAR(mean, kBlocks / 2.0, 5 * 74);
  }
}

TEST(EpochOrder, BlocksOfOneRecordGiveAGlobalShuffle) {
  // A random permutation leaves 1 record in its place on average, and moves more than half of them by over a quarter of
  // the data.
  const std::vector<uint64_t> all = epoch_of(10000, {5, 1, 1}, 0);
  size_t fixed = 0, far = 0;
  for (uint64_t p = 0; p < all.size(); ++p) {
    fixed += all[p] == p ? 1 : 0;
    far += (all[p] > p ? all[p] - p : p - all[p]) > 2500 ? 1 : 0;
  }
  EXPECT_LT(fixed, 12u);
  EXPECT_NEAR(static_cast<double>(far), 0.5625 * 10000, 5 * 50);  // (1 - 1/4)^2 of all, +- 5 sqrt(10000 / 4)
}

TEST(EpochOrder, WorksForATrillionRecords) {
  const EpochOrder order(uint64_t{1} << 40, {5, 1024, 4096}, 1000000);
  EXPECT_LT(order.at((uint64_t{1} << 40) - 1), uint64_t{1} << 40);
  EXPECT_EQ(order.window_begin(uint64_t{1} << 18), uint64_t{1} << 40);  // after the last window of 2^22 records
}

TEST(EpochOrder, RefusesZeroRecords) { EXPECT_THROW(EpochOrder(0, {1, 1, 1}, 0), Error); }

TEST(BatchPlan, RanksShareTheSameGlobalSteps) {
  // The positions that all ranks together use in a step are the same for 1, 2 and 4 ranks, in the same order.
  constexpr uint64_t kRecords = 103, kGlobal = 8;
  std::vector<std::vector<uint64_t>> taken;
  for (const int ranks : {1, 2, 4}) {
    std::vector<uint64_t> positions;
    for (uint64_t step = 0; step < BatchPlan{kRecords, kGlobal, ranks, 0}.training_steps(); ++step) {
      for (int rank = 0; rank < ranks; ++rank) {
        const BatchPlan plan{kRecords, kGlobal, ranks, rank};
        for (uint64_t i = 0; i < plan.rank_batch(); ++i) positions.push_back(plan.position(step, i));
      }
    }
    taken.push_back(positions);
  }
  ASSERT_EQ(taken[0].size(), 96u);
  EXPECT_EQ(taken[0], taken[1]);
  EXPECT_EQ(taken[0], taken[2]);
  EXPECT_EQ((BatchPlan{kRecords, kGlobal, 2, 0}.dropped()), 7u);
  EXPECT_EQ((BatchPlan{kRecords, kGlobal, 2, 0}.evaluation_steps()), 13u);
}

TEST(BatchPlan, NamesValidValuesForAnInvalidOne) {
  try {
    BatchPlan{1000, 30, 4, 0}.check(true);
    FAIL() << "a global batch of 30 on 4 ranks was not refused";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().hint, "use 28 or 32");
  }
  EXPECT_THROW((BatchPlan{1000, 0, 1, 0}.check(true)), UsageError);
  EXPECT_THROW((BatchPlan{10, 16, 2, 0}.check(true)), UsageError);
  EXPECT_NO_THROW((BatchPlan{10, 16, 2, 0}.check(false)));
  EXPECT_THROW((BatchPlan{10, 3, 4, 0}.check(true)), UsageError);
}

}  // namespace
}  // namespace packhorse

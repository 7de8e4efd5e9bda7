#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/permutation.h"
#include "base/philox.h"

namespace packhorse {
namespace {

// Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, MatchesPublishedBlocks) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, DependsOnlyOnItsAddress) {
  RandomStream first(7, RandomUse::augment, 3, 42), same(7, RandomUse::augment, 3, 42);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(first.next(), same.next());
}

TEST(RandomStream, ChangesWithEachPartOfTheAddress) {
  const auto word = [](uint64_t seed, RandomUse use, uint64_t major, uint64_t minor) {
    return RandomStream(seed, use, major, minor).next();
  };
  const std::set<uint32_t> words = {word(7, RandomUse::augment, 3, 42),
                                    word(8, RandomUse::augment, 3, 42),
                                    word(7, RandomUse::weights, 3, 42),
                                    word(7, RandomUse::augment, 4, 42),
                                    word(7, RandomUse::augment, 3, 43),
                                    word(7 + (uint64_t{1} << 32), RandomUse::augment, 3, 42),
                                    word(7, RandomUse::augment, 3 + (uint64_t{1} << 32), 42),
                                    word(7, RandomUse::augment, 3, 42 + (uint64_t{1} << 32))};
  EXPECT_EQ(words.size(), 8u);
}

TEST(RandomStream, HasTheMomentsOfTheDistributions) {
  constexpr int kDraws = 200'000;
  double uniform = 0, normal = 0, square = 0;
  RandomStream stream(1, RandomUse::test, 0, 0);
  for (int i = 0; i < kDraws; ++i) {
    const float u = stream.uniform();
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    ASSERT_LT(stream.below(10), 10u);
    uniform += u;
    const double z = stream.normal();
    normal += z;
    square += z * z;
  }
  // Five standard errors of the mean: 1/sqrt(12 n) for the uniform, 1/sqrt(n) and sqrt(2/n) for the normal.
  EXPECT_NEAR(uniform / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(normal / kDraws, 0.0, 5 / std::sqrt(1.0 * kDraws));
  EXPECT_NEAR(square / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
}

TEST(Permutation, VisitsEachElementOnce) {
  for (const uint64_t count : {1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 1000, 4097}) {
    const Permutation permutation(count, 99, 1, count);
    std::vector<bool> seen(count);
    for (uint64_t position = 0; position < count; ++position) {
      const uint64_t element = permutation.at(position);
      ASSERT_LT(element, count);
      ASSERT_FALSE(seen[element]) << count << ": element " << element << " appears twice";
      seen[element] = true;
      ASSERT_EQ(permutation.position_of(element), position);
    }
  }
}

TEST(Permutation, WorksForMoreElementsThan32Bits) {
  const uint64_t count = (uint64_t{1} << 40) + 12345;
  const Permutation permutation(count, 5, 1, 0);
  for (uint64_t position = 0; position < count; position += count / 97) {
    const uint64_t element = permutation.at(position);
    ASSERT_LT(element, count);
    ASSERT_EQ(permutation.position_of(element), position);
  }
}

TEST(Permutation, ChangesWithSeedUseAndAddress) {
  const auto order = [](uint64_t seed, uint32_t use, uint64_t address) {
    std::vector<uint64_t> all(50);
    for (uint64_t i = 0; i < all.size(); ++i) all[i] = Permutation(all.size(), seed, use, address).at(i);
    return all;
  };
  const std::set<std::vector<uint64_t>> orders = {order(1, 1, 1), order(2, 1, 1), order(1, 2, 1), order(1, 1, 2)};
  EXPECT_EQ(orders.size(), 4u);
}

// The position of each element is uniform over seeds: a chi-squared test of the first position with 15 degrees of
// freedom.
TEST(Permutation, IsUniformOverSeeds) {
  constexpr int kCount = 16, kTrials = 16'000;
  std::vector<int> hits(kCount);
  for (int seed = 0; seed < kTrials; ++seed) ++hits[Permutation(kCount, seed, 1, 0).at(0)];
  double chi_squared = 0;
  for (const int hit : hits) chi_squared += (hit - 1000.0) * (hit - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 44.3);  // the 99.99 % quantile
}

TEST(Permutation, OfNoElementsIsAnError) { EXPECT_THROW(Permutation(0, 1, 1, 1), Error); }

}  // namespace
}  // namespace packhorse

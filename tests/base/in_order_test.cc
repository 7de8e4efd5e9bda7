#include "base/in_order.h"

#include <atomic>

#include <gtest/gtest.h>

#include "base/error.h"

namespace packhorse {
namespace {

TEST(InOrder, ResultsAreInOrderAndItemsInFlightBounded) {
  std::atomic<int> in_flight = 0, most = 0;
  uint64_t next = 0;
  for_each_in_order(
      500, 4,
      [&](uint64_t i) {
        const int now = ++in_flight;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        return i;
      },
      [&](uint64_t i) {
        EXPECT_EQ(i, next++);
        --in_flight;
      });
  EXPECT_EQ(next, 500u);
  EXPECT_LE(most, 4 * kInFlightPerThread);
  const auto number = [](uint64_t i) { return i; };
  for_each_in_order(0, 2, number, [](uint64_t) { FAIL(); });
}

TEST(InOrder, AnErrorOnEitherSideReachesTheCaller) {
  const auto number = [](uint64_t i) { return i; };
  const auto fail_at_9 = [](uint64_t i) -> uint64_t { return i == 9 ? throw Error({"made", "", ""}) : i; };
  EXPECT_THROW(for_each_in_order(100, 3, fail_at_9, [](uint64_t) {}), Error);
  EXPECT_THROW(for_each_in_order(100, 3, number, [&](uint64_t i) { fail_at_9(i); }), Error);
}

}  // namespace
}  // namespace packhorse

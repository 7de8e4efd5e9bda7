// The test before each test named Ranked starts it in mpirun.
#include "comm/host_allreduce.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support/subprocess.h"

namespace packhorse {
namespace {

TEST(HostAllreduce, OneRankChangesNothing) {
  World world;
  const auto allreduce = make_host_allreduce(world);
  EXPECT_EQ(allreduce->ranks(), 1);
  std::array<float, 3> values{1, 2, 3};
  allreduce->start(values);
  allreduce->wait();
  EXPECT_EQ(values, (std::array<float, 3>{1, 2, 3}));
}

TEST(HostAllreduce, SumsOverRanks) {
  for (const int ranks : {1, 2, 4}) {
    const auto result = test::run_ranked_test("DISABLED_Ranked.*", ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

// Integers below 2^24: the sums are exact in any order.
float value_at(size_t i, int step) { return static_cast<float>((i * 7 + static_cast<size_t>(step)) % 1000); }

TEST(DISABLED_Ranked, Steps) {
  World world;
  const int rank = world.rank(), size = world.size();
  const int numbers = size * (size + 1) / 2, ranks = size * (size - 1) / 2;  // 1 + 2 + ..., 0 + 1 + ...
  const auto allreduce = make_host_allreduce(world);
  ASSERT_EQ(allreduce->ranks(), size);
  constexpr size_t kBucket = 1 << 16;
  std::vector<float> gradients(300001), last(3);  // an odd length: the buckets differ
  for (int step = 0; step < 5; ++step) {
    for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = value_at(i, step) * static_cast<float>(rank + 1);
    last = {static_cast<float>(rank), 1, static_cast<float>(step)};
    // Several sums run at the same time, and the ranks start them at different times.
    for (size_t end = gradients.size(); end > 0; end -= std::min(end, kBucket)) {
      const size_t first = end - std::min(end, kBucket);
      allreduce->start(std::span(gradients).subspan(first, end - first));
      std::this_thread::sleep_for(std::chrono::microseconds(300 * ((rank + step) % size)));
    }
    if (step % 2 == 1) allreduce->wait();  // a step may wait more than once
    allreduce->start(last);
    allreduce->wait();
    for (size_t i = 0; i < gradients.size(); ++i)
      ASSERT_EQ(gradients[i], value_at(i, step) * static_cast<float>(numbers)) << "step " << step << " element " << i;
    EXPECT_EQ(last, (std::vector<float>{static_cast<float>(ranks), static_cast<float>(size),
                                        static_cast<float>(size * step)}));
    allreduce->wait();  // with nothing started
    world.barrier();    // between steps the main thread may communicate
  }
}

}  // namespace
}  // namespace packhorse

// The test before each test named Ranked starts it in mpirun.
#include "comm/gradient_buckets.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/subprocess.h"

namespace packhorse {
namespace {

/// Records what is started. All ranks have the same values, so a sum is a multiplication.
class RecordingAllreduce : public Allreduce {
 public:
  explicit RecordingAllreduce(int ranks) : ranks_(ranks) {}
  int ranks() const override { return ranks_; }
  void start(std::span<float> values) override { started.push_back(values); }
  void wait() override {
    for (; done_ < started.size(); ++done_)
      for (float& value : started[done_]) value *= static_cast<float>(ranks_);
  }
  std::vector<std::span<float>> started;

 private:
  int ranks_;
  size_t done_ = 0;
};

TEST(GradientBuckets, CoverEachGradientOnceFromTheEnd) {
  for (const size_t length : {1u, 9u, 10u, 11u, 100u, 101u}) {
    std::vector<float> gradients(length, 1);
    RecordingAllreduce allreduce(3);
    GradientBuckets buckets(allreduce, gradients, 10 * sizeof(float));
    buckets.finish();
    EXPECT_EQ(allreduce.started.size(), (length + 9) / 10);
    EXPECT_EQ(gradients, std::vector<float>(length, 3));
    const float* end = gradients.data() + length;
    for (const auto part : allreduce.started) {
      EXPECT_EQ(part.data() + part.size(), end);
      end = part.data();
    }
    EXPECT_EQ(end, gradients.data());
    buckets.finish();  // a second step
    EXPECT_EQ(gradients, std::vector<float>(length, 9));
  }
}

TEST(GradientBuckets, StartAsSoonAsAWholeBucketIsFinal) {
  std::vector<float> gradients(35, 1);
  RecordingAllreduce allreduce(2);
  GradientBuckets buckets(allreduce, gradients, 10 * sizeof(float));
  const auto started = [&] { return allreduce.started.size(); };
  buckets.ready(30);
  EXPECT_EQ(started(), 0u);  // the last bucket is [25, 35)
  buckets.ready(25);
  EXPECT_EQ(started(), 1u);
  buckets.ready(25);
  EXPECT_EQ(started(), 1u);
  buckets.ready(6);
  EXPECT_EQ(started(), 2u);
  std::vector<float> last{5, 6};
  buckets.also(last);  // starts the remaining buckets first: the order is the same on every rank
  EXPECT_EQ(started(), 5u);
  EXPECT_EQ(allreduce.started[3].size(), 5u);
  EXPECT_EQ(allreduce.started[4].data(), last.data());
  buckets.finish();
  EXPECT_EQ(gradients, std::vector<float>(35, 2));
  EXPECT_EQ(last, (std::vector<float>{10, 12}));
  buckets.ready(25);  // the next step
  EXPECT_EQ(started(), 6u);
}

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

TEST(DISABLED_Ranked, Steps) {
  World world;
  const int rank = world.rank(), size = world.size();
  const auto allreduce = make_host_allreduce(world);
  ASSERT_EQ(allreduce->ranks(), size);
  // Integers below 2^24: the sums are exact in any order. Odd length, several buckets, several steps.
  std::vector<float> gradients(300001), last(3);
  GradientBuckets buckets(*allreduce, gradients, 1 << 18);
  for (int step = 0; step < 5; ++step) {
    for (size_t i = 0; i < gradients.size(); ++i)
      gradients[i] = static_cast<float>((i * 7 + static_cast<size_t>(step)) % 1000) * static_cast<float>(rank + 1);
    last = {static_cast<float>(rank), 1, static_cast<float>(step)};
    // The ranks report different positions at different times.
    for (size_t first = gradients.size(); first > 0; first -= std::min<size_t>(first, 40000 + 1000 * size_t(rank)))
      buckets.ready(first);
    buckets.also(last);
    buckets.finish();
    const int ranks_sum = size * (size + 1) / 2;
    for (size_t i = 0; i < gradients.size(); ++i) {
      ASSERT_EQ(gradients[i],
                static_cast<float>((i * 7 + static_cast<size_t>(step)) % 1000) * static_cast<float>(ranks_sum))
          << "step " << step << " element " << i;
    }
    const int rank_sum = size * (size - 1) / 2;
    EXPECT_EQ(last, (std::vector<float>{static_cast<float>(rank_sum), static_cast<float>(size),
                                        static_cast<float>(size * step)}));
    EXPECT_GE(buckets.exposed_seconds(), 0);
    world.barrier();  // between steps the main thread may communicate
  }
}

}  // namespace
}  // namespace packhorse

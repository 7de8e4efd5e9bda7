// The test before each test named Ranked starts it in mpirun.
#include "comm/host_allreduce.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "device/host.h"
#include "support/subprocess.h"

namespace packhorse {
namespace {

void run_on_ranks(const char* name, const std::vector<int>& numbers_of_ranks) {
  for (const int ranks : numbers_of_ranks) {
    const auto result = test::run_ranked_test(std::string("DISABLED_RankedSums.") + name, ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

/// The job ends, with these words, although other ranks wait for what never comes.
void expect_end(const char* name, const std::string& words) {
  const Stopwatch clock;
  const auto result = test::run_ranked_test(std::string("DISABLED_RankedSums.") + name, 3);
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.all().find(words), std::string::npos) << result.all();
  EXPECT_EQ(result.all().find("Failure"), std::string::npos) << result.all();
  EXPECT_LT(clock.seconds(), 30) << "the design promises an end within 30 s";
}

void enqueue_sum(Allreduce& sums, std::span<float> values) {
  sums.enqueue(host_address(values.data()), static_cast<int64_t>(values.size()));
}

TEST(HostAllreduce, OneRankChangesNothing) {
  World world;
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  EXPECT_EQ(sums->ranks(), 1);
  std::array<float, 3> values{1, 2, 3};
  enqueue_sum(*sums, values);
  sums->stream().synchronize();
  EXPECT_EQ(values, (std::array<float, 3>{1, 2, 3}));
}

// Here the event comes only after the stream has been told to wait for it.
TEST(HostAllreduce, OfOneRankDoesNotHoldUpWhoEnqueues) {
  World world;
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  const auto compute = host_device().make_stream(true);
  HostEvent enqueued, computed, summed;
  const uint64_t number = enqueued.announce();
  compute->wait(enqueued);
  compute->record(computed);
  sums->stream().wait(computed);
  sums->stream().record(summed);
  EXPECT_FALSE(summed.done());
  enqueued.complete(number, nullptr);
  summed.synchronize();
}

// Integers below 2^24: the sums are exact in any order.
float value_at(size_t i, int step) { return static_cast<float>((i * 7 + static_cast<size_t>(step)) % 1000); }

TEST(HostAllreduce, SumsOverRanks) { run_on_ranks("Steps", {1, 2, 4}); }

TEST(DISABLED_RankedSums, Steps) {
  World world;
  const int rank = world.rank(), size = world.size();
  const int numbers = size * (size + 1) / 2, ranks = size * (size - 1) / 2;  // 1 + 2 + ..., 0 + 1 + ...
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  ASSERT_EQ(sums->ranks(), size);
  constexpr size_t kBucket = 1 << 16;
  std::vector<float> gradients(300001), last(3);  // an odd length: the buckets differ
  HostEvent summed;
  for (int step = 0; step < 5; ++step) {
    for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = value_at(i, step) * static_cast<float>(rank + 1);
    last = {static_cast<float>(rank), 1, static_cast<float>(step)};
    // Several sums run at the same time, and the ranks start them at different times.
    for (size_t end = gradients.size(); end > 0; end -= std::min(end, kBucket)) {
      const size_t first = end - std::min(end, kBucket);
      enqueue_sum(*sums, std::span(gradients).subspan(first, end - first));
      std::this_thread::sleep_for(std::chrono::microseconds(300 * ((rank + step) % size)));
    }
    if (step % 2 == 1) sums->stream().synchronize();
    enqueue_sum(*sums, last);
    sums->stream().record(summed);
    summed.synchronize();
    for (size_t i = 0; i < gradients.size(); ++i)
      ASSERT_EQ(gradients[i], value_at(i, step) * static_cast<float>(numbers)) << "step " << step << " element " << i;
    EXPECT_EQ(last, (std::vector<float>{static_cast<float>(ranks), static_cast<float>(size),
                                        static_cast<float>(size * step)}));
    sums->stream().synchronize();  // with nothing enqueued
    world.barrier();               // between steps the main thread may communicate
  }
}

TEST(HostAllreduce, WorksInOrder) { run_on_ranks("InOrder", {1, 2, 4}); }

// Everything is enqueued at once: a copy sees the sum before it, a sum the copy before it.
TEST(DISABLED_RankedSums, InOrder) {
  World world;
  const auto size = static_cast<float>(world.size());
  constexpr int kSteps = 50;
  constexpr size_t kCount = 5000;
  std::vector<float> ones(kCount, 1), values(kCount), found(kSteps * kCount);
  double seconds = 0;
  bool late = false;
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  Stream& stream = sums->stream();
  for (size_t step = 0; step < kSteps; ++step) {
    stream.write(host_address(values.data()), std::as_bytes(std::span(ones)));
    enqueue_sum(*sums, values);
    stream.enqueue([&] {
      for (float& value : values) value += 1;
    });
    stream.read(std::as_writable_bytes(std::span(found).subspan(step * kCount, kCount)), host_address(values.data()));
  }
  stream.enqueue(
      [&] {
        late = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      },
      &seconds);
  stream.synchronize();
  EXPECT_EQ(found, std::vector<float>(found.size(), size + 1));
  EXPECT_TRUE(late);
  EXPECT_GE(seconds, 0.002);
}

TEST(HostAllreduce, SumsGoOnBeforeAWait) { run_on_ranks("LateEvents", {1, 2, 4}); }

// One rank's second sum waits for an event that comes only after its first sum. If the wait held up that sum, no rank
// would come to an end. The other ranks wait for nothing.
TEST(DISABLED_RankedSums, LateEvents) {
  World world;
  const int rank = world.rank(), size = world.size();
  constexpr int kSteps = 20;
  std::vector<float> first(kSteps, 1), second(kSteps, 1);
  double waited = 0;
  HostEvent first_summed, computed, second_summed;
  const auto compute = host_device().make_stream(true);
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  Stream& stream = sums->stream();
  for (int step = 0; step < kSteps; ++step) {
    const auto i = static_cast<size_t>(step);
    sums->enqueue(host_address(&first[i]), 1);
    stream.record(first_summed);
    if (step % size == rank) {
      compute->wait(first_summed);
      compute->enqueue([&, i] {
        EXPECT_EQ(first[i], static_cast<float>(size));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        second[i] = 2;
      });
      compute->record(computed);
      stream.wait(computed, &waited);
    }
    sums->enqueue(host_address(&second[i]), 1);
    stream.record(second_summed);
  }
  second_summed.synchronize();
  EXPECT_EQ(first, std::vector<float>(kSteps, static_cast<float>(size)));
  EXPECT_EQ(second, std::vector<float>(kSteps, static_cast<float>(size + 1)));
  EXPECT_GT(waited, 0);
}

TEST(HostAllreduce, AWaitMeansTheLastRecordSoFar) { run_on_ranks("LastRecord", {1, 2}); }

// The second record comes after the sum: a wait for it would never end.
TEST(DISABLED_RankedSums, LastRecord) {
  World world;
  float value = 1;
  HostEvent computed, summed;
  const auto compute = host_device().make_stream(true);
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  compute->record(computed);
  sums->stream().wait(computed);
  sums->enqueue(host_address(&value), 1);
  sums->stream().record(summed);
  compute->wait(summed);
  compute->record(computed);
  computed.synchronize();
  EXPECT_EQ(value, static_cast<float>(world.size()));
}

TEST(HostAllreduce, EndsWhenItIsEmpty) { run_on_ranks("Destroyed", {1, 2, 4}); }

TEST(DISABLED_RankedSums, Destroyed) {
  World world;
  std::vector<float> first(200'000, 1), second(200'000, 1);
  const HostEvent never_recorded;
  CommThread comm(world);
  {
    const auto sums = make_host_allreduce(comm);
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * world.rank()));
    enqueue_sum(*sums, first);
    sums->stream().wait(never_recorded);
    enqueue_sum(*sums, second);
  }
  const std::vector<float> expected(first.size(), static_cast<float>(world.size()));
  EXPECT_EQ(first, expected);
  EXPECT_EQ(second, expected);
}

TEST(HostAllreduce, AFailureEndsWhoWaits) { run_on_ranks("WorkFails", {1, 2, 4}); }

// What is before the failure is done, even if it ends later: a record there carries no exception.
TEST(DISABLED_RankedSums, WorkFails) {
  World world;
  float value = 1;
  bool ran = false;
  HostEvent before, behind, computed;
  const auto compute = host_device().make_stream(true);
  CommThread comm(world);
  const auto sums = make_host_allreduce(comm);
  Stream& stream = sums->stream();
  if (world.is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  sums->enqueue(host_address(&value), 1);
  stream.record(before);
  compute->enqueue([] { throw std::runtime_error("broken"); });
  compute->record(computed);
  stream.wait(computed);
  stream.enqueue([&] { ran = true; });
  sums->enqueue(host_address(&value), 1);
  stream.record(behind);
  EXPECT_NO_THROW(before.synchronize());
  EXPECT_THROW(behind.synchronize(), std::runtime_error);
  EXPECT_THROW(stream.synchronize(), std::runtime_error);
  stream.record(behind);
  EXPECT_THROW(behind.synchronize(), std::runtime_error);
  EXPECT_FALSE(ran);
  EXPECT_EQ(value, static_cast<float>(world.size()));
}

TEST(HostAllreduce, AFailedMessageEndsTheJob) {
  expect_end("MessageFails", "[rank 1] error: one MPI message of 2^31 items");
}

// Rank 1 cannot start a sum of 2^31 values, while a sum that the other ranks never start is in progress.
TEST(DISABLED_RankedSums, MessageFails) {
  const int code = run_ranked_stage([](World& world) -> int {
    std::array<float, 3> values{1, 1, 1};
    HostEvent before, behind, computed;
    const auto compute = host_device().make_stream(true);
    CommThread comm(world);
    const auto sums = make_host_allreduce(comm);
    Stream& stream = sums->stream();
    sums->enqueue(host_address(&values[0]), 1);
    EXPECT_NO_THROW(stream.synchronize());
    EXPECT_EQ(values[0], 3);
    if (world.rank() != 1) world.barrier();
    sums->enqueue(host_address(&values[1]), 1);
    stream.record(before);
    sums->enqueue(host_address(&values[2]), int64_t{1} << 31);
    stream.record(behind);
    compute->wait(behind);
    compute->record(computed);
    EXPECT_THROW(before.synchronize(), Error);
    EXPECT_THROW(computed.synchronize(), Error);
    sums->enqueue(host_address(&values[2]), 1);  // from now on nothing is sent
    stream.synchronize();
    return 0;
  });
  FAIL() << "the job continued with code " << code;
}

TEST(HostAllreduce, FailedWorkEndsTheJob) { expect_end("OneRankFails", "[rank 2] error: only this rank"); }

TEST(DISABLED_RankedSums, OneRankFails) {
  const int code = run_ranked_stage([](World& world) -> int {
    float value = 1;
    CommThread comm(world);
    const auto sums = make_host_allreduce(comm);
    if (world.rank() == 2) sums->stream().enqueue([] { throw Error({"only this rank", "", ""}); });
    sums->enqueue(host_address(&value), 1);
    sums->stream().synchronize();
    return 0;
  });
  FAIL() << "the job continued with code " << code;
}

TEST(HostAllreduce, ARankThatDiesEndsTheJob) { expect_end("OneRankDies", "signal 9"); }

TEST(DISABLED_RankedSums, OneRankDies) {
  const int code = run_ranked_stage([](World& world) -> int {
    float value = 1;
    CommThread comm(world);
    const auto sums = make_host_allreduce(comm);
    if (world.rank() == 2) raise(SIGKILL);
    sums->enqueue(host_address(&value), 1);
    sums->stream().synchronize();
    return 0;
  });
  FAIL() << "the job continued with code " << code;
}

}  // namespace
}  // namespace packhorse

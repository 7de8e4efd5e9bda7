#include "feed/batch_ring.h"

#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "device/host.h"

namespace packhorse {
namespace {

std::vector<std::unique_ptr<Batch>> batches(int count) {
  std::vector<std::unique_ptr<Batch>> made;
  made.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) made.push_back(std::make_unique<Batch>());
  return made;
}

TEST(BatchRing, DeliversEveryBatchInOrderAndRecycles) {
  uint64_t next = 0;
  BatchRing ring(batches(3), [&](Batch& batch) {
    if (next == 1000) return false;
    batch.step = next++;
    return true;
  });
  std::set<const Batch*> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    const Batch* batch = ring.next();
    ASSERT_NE(batch, nullptr);
    ASSERT_EQ(batch->step, i);
    seen.insert(batch);
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(ring.next(), nullptr);
  EXPECT_EQ(ring.next(), nullptr);  // calling again at the end does not hang
}

TEST(BatchRing, IsBounded) {
  std::atomic<int> filled{0};
  BatchRing ring(batches(3), [&](Batch&) {
    ++filled;
    return true;
  });
  for (int i = 0; i < 50; ++i) ring.next();
  // 50 batches were taken and one of them is still in use, so at most the other two can be filled ahead.
  EXPECT_LE(filled, 52);
}

// A device may still read a batch after the next one was taken.
TEST(BatchRing, FillsABatchAgainOnlyWhenItsEventIsDone) {
  HostEvent taken;
  BatchRing ring(batches(2), [next = uint64_t{0}](Batch& batch) mutable {
    batch.step = next++;
    return true;
  });
  const Batch* first = ring.next();
  const uint64_t record = taken.announce();
  ring.keep_until(taken);
  const Batch* second = ring.next();
  ASSERT_NE(second, first);
  std::atomic<bool> done = false;
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(first->step, 0u);
    done = true;
    taken.complete(record, nullptr);
  });
  const Batch* third = ring.next();  // the ring has two batches: it is the first one again
  EXPECT_EQ(third, first);
  EXPECT_TRUE(done);
  EXPECT_EQ(third->step, 2u);
  device.join();
}

class ThrowAt : public ::testing::TestWithParam<int> {};

TEST_P(ThrowAt, ThrowsInTheBatchesTurn) {
  int next = 0;
  BatchRing ring(batches(2), [&](Batch& batch) {
    if (next == GetParam()) throw std::runtime_error("image " + std::to_string(next));
    batch.step = static_cast<uint64_t>(next++);
    return true;
  });
  for (int i = 0; i < GetParam(); ++i) ASSERT_EQ(ring.next()->step, static_cast<uint64_t>(i));
  for (int again = 0; again < 2; ++again) {
    try {
      ring.next();
      FAIL() << "next() did not throw";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), "image " + std::to_string(GetParam()));
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Batches, ThrowAt, ::testing::Values(0, 1, 2, 3, 10));

TEST(BatchRing, CanBeDestroyedAtAnyMoment) {
  for (int taken = 0; taken < 6; ++taken) {
    BatchRing ring(batches(2), [](Batch&) { return true; });
    for (int i = 0; i < taken; ++i) ring.next();
  }
  BatchRing unread(batches(2), [](Batch&) -> bool { throw std::runtime_error("never taken"); });
}

}  // namespace
}  // namespace packhorse

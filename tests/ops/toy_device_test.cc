// The toy as one of the backends that each test runs on, and what its device promises: memory that no host follows,
// late work in any order that streams and events allow, and a Fault for whoever breaks a rule.
#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/backends.h"
#include "ops/device_bytes.h"
#include "ops/toy_backend.h"

namespace packhorse {
namespace {

// Every test draws the same orders whichever tests run before it. TOY_SEED=N draws others.
class SeedsEachTest : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& /*test*/) override { toy::toy_device().seed(toy::seed_of_environment()); }
};

const bool kListed = [] {
  add_backend({"toy", toy::types, toy::make_backend});
  testing::UnitTest::GetInstance()->listeners().Append(new SeedsEachTest);  // GoogleTest owns it
  return true;
}();

std::string fault_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const toy::Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

class ToyDevice : public testing::Test {
 protected:
  static constexpr uint64_t kSeeds = 50;
  toy::ToyDevice device_{1};
};
using ToyDeviceDeathTest = ToyDevice;

TEST_F(ToyDevice, IsListedAsABackend) {
  EXPECT_TRUE(kListed);
  EXPECT_EQ(backend_names().back(), "toy");
  EXPECT_EQ(make_backend("toy", {})->name(), "toy");
  EXPECT_NE(backend_names().front(), "toy");
}

TEST_F(ToyDevice, MemoryIsAlignedZerosWithinItsSize) {
  const auto stream = device_.make_stream(true);
  const DeviceMemory memory(device_, 1000), other(device_, 10);
  EXPECT_EQ(memory.address().bits() % 64, 0u);
  EXPECT_EQ(read_bytes(*stream, memory.address(), 1000), std::vector<std::byte>(1000));
  write_bytes(*stream, memory.address() + 990, std::vector<std::byte>(10, std::byte{7}));
  EXPECT_EQ(read_bytes(*stream, memory.address() + 985, 10)[5], std::byte{7});
  EXPECT_THROW(DeviceMemory(device_, toy::Memory::kBytes + 1), Error);
}

TEST_F(ToyDevice, OutOfBoundsIsAFault) {
  const auto stream = device_.make_stream(true);
  const DeviceMemory memory(device_, 1000), behind(device_, 1000);
  EXPECT_NE(fault_of([&] { read_bytes(*stream, memory.address() + 999, 2); }).find("lie outside block 1"),
            std::string::npos);
}

TEST_F(ToyDevice, UseAfterFreeIsAFault) {
  const auto stream = device_.make_stream(true);
  std::vector<std::byte> bytes(16);
  DeviceAddress freed;
  {
    const DeviceMemory memory(device_, 16);
    freed = memory.address();
  }
  const DeviceMemory next(device_, 16);
  EXPECT_NE(next.address(), freed);
  stream->write(freed, bytes);
  EXPECT_NE(fault_of([&] { stream->synchronize(); }).find("after it was freed"), std::string::npos);
}

// The work is enqueued while the memory is there, and its turn comes later.
TEST_F(ToyDevice, MemoryFreedBeforeItsTurnIsAFault) {
  std::vector<std::byte> bytes(16);
  int seen = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    device_.seed(seed);
    const auto stream = device_.make_stream(true);
    {
      const DeviceMemory memory(device_, 16);
      stream->write(memory.address(), bytes);
    }
    seen += fault_of([&] { stream->synchronize(); }).find("after it was freed") != std::string::npos;
  }
  EXPECT_GE(seen, 30);
  EXPECT_LT(seen, static_cast<int>(kSeeds));  // now and then the device is early
}

TEST_F(ToyDevice, HostMemoryFreedBeforeItsTurnIsAFault) {
  device_.seed(0);
  const auto stream = device_.make_stream(true);
  const DeviceMemory memory(device_, 16);
  stream->enqueue([] {});
  {
    const HostMemory bytes(device_, 16);
    stream->write(memory.address(), bytes.bytes());
  }
  EXPECT_NE(fault_of([&] { stream->synchronize(); }).find("memory of the host that was freed"), std::string::npos);
}

TEST_F(ToyDeviceDeathTest, NoHostFollowsAnAddress) {
  const DeviceMemory memory(device_, 16);
  EXPECT_DEATH(
      {
        const volatile std::byte byte = *memory.address().as<std::byte>();
        static_cast<void>(byte);
      },
      "");
}

TEST_F(ToyDeviceDeathTest, AnEventOutlivesTheWorkThatRecordsIt) {
  const auto stream = device_.make_stream(true);
  auto event = device_.make_event();
  for (int i = 0; i < 50; ++i) stream->enqueue([] {});
  stream->record(*event);
  EXPECT_DEATH(event.reset(), "an event ended before");
  stream->synchronize();
}

TEST_F(ToyDevice, WorksInOrderOfEachStreamAndAnyOrderBetween) {
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    device_.seed(seed);
    const auto first = device_.make_stream(true), second = device_.make_stream(true);
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) {
      first->enqueue([&order, i] { order.push_back(i); });
      second->enqueue([&order, i] { order.push_back(10 + i); });
    }
    first->synchronize();
    second->synchronize();
    ASSERT_EQ(order.size(), 6u);
    for (const int stream : {0, 1}) {
      std::vector<int> mine;
      std::copy_if(order.begin(), order.end(), std::back_inserter(mine), [&](int i) { return i / 10 == stream; });
      EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    }
    orders.insert(order);
  }
  EXPECT_GE(orders.size(), 10u);  // of 20
}

TEST_F(ToyDevice, AWaitMeansTheLastRecordSoFar) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    device_.seed(seed);
    const auto first = device_.make_stream(true), second = device_.make_stream(true);
    const auto event = device_.make_event(), end = device_.make_event();
    int value = 0;
    second->wait(*event);  // no record yet: done
    first->enqueue([&] { value = 1; });
    first->record(*event);
    second->wait(*event);
    second->enqueue([&] { EXPECT_EQ(value, 1); });
    second->record(*end);
    first->wait(*end);
    first->enqueue([&] { value = 2; });
    first->record(*event);
    event->synchronize();
    EXPECT_EQ(value, 2);
    second->synchronize();
    EXPECT_TRUE(event->done());
  }
}

TEST_F(ToyDevice, AFailureEndsWhoWaits) {
  const auto first = device_.make_stream(true), second = device_.make_stream(true);
  const auto event = device_.make_event();
  bool ran = false;
  first->enqueue([] { throw std::runtime_error("broken"); });
  first->enqueue([&] { ran = true; });
  first->record(*event);
  second->wait(*event);
  second->enqueue([&] { ran = true; });
  EXPECT_THROW(second->synchronize(), std::runtime_error);
  EXPECT_THROW(event->synchronize(), std::runtime_error);
  EXPECT_THROW(first->synchronize(), std::runtime_error);
  EXPECT_FALSE(ran);
}

// A record that was promised and never comes: a stream that is not the toy's would wait forever.
TEST_F(ToyDevice, AWaitThatNobodyEndsIsADeadlock) {
  const auto stream = device_.make_stream(true);
  toy::ToyEvent event(device_);
  event.announce();
  stream->wait(event, nullptr);
  bool ran = false;
  stream->enqueue([&] { ran = true; }, nullptr);
  EXPECT_NE(fault_of([&] { stream->synchronize(); }).find("deadlock: stream 1 waits"), std::string::npos);
  EXPECT_NE(fault_of([&] { event.synchronize(); }).find("deadlock: the host waits"), std::string::npos);
  EXPECT_FALSE(ran);
}

TEST_F(ToyDevice, MeasuresItsWork) {
  const auto stream = device_.make_stream(true);
  double seconds = 0;
  stream->enqueue([] {}, &seconds);
  stream->synchronize();
  EXPECT_GT(seconds, 0);
}

}  // namespace
}  // namespace packhorse

// The host as a device: memory, streams on the calling thread and on threads of their own, events between them.
#include "device/device.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "device/host.h"

namespace packhorse {
namespace {

TEST(Device, HostHasItsMemory) {
  EXPECT_TRUE(host_device().is_host());
  EXPECT_GT(host_device().memory_bytes(), uint64_t{1} << 28);
}

TEST(DeviceMemory, IsAlignedAndInitiallyZero) {
  const DeviceMemory memory(host_device(), 3'000'001);
  const std::byte* const at = host_pointer(memory.address());
  EXPECT_EQ(memory.address().bits() % 64, 0u);
  EXPECT_EQ(memory.bytes(), 3'000'001u);
  EXPECT_TRUE(std::all_of(at, at + memory.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  host_pointer(memory.address())[memory.bytes() - 1] = std::byte{7};
}

TEST(DeviceMemory, HasOneOwner) {
  DeviceMemory first(host_device(), 4096);
  const DeviceAddress at = first.address();
  DeviceMemory second(std::move(first));
  EXPECT_EQ(second.address(), at);
  DeviceMemory third;
  third = std::move(second);
  EXPECT_EQ(third.address(), at);
  EXPECT_EQ(third.bytes(), 4096u);
}

TEST(DeviceMemory, OfZeroBytesIsNowhere) {
  const DeviceMemory memory(host_device(), 0);
  EXPECT_FALSE(memory.address());
}

TEST(DeviceMemory, RefusesMoreThanTheHostHas) {
  try {
    const DeviceMemory memory(host_device(), host_device().memory_bytes() + 1);
    FAIL() << "allocated more memory than the host has";
  } catch (const Error& error) {
    for (const char* words : {"out of memory: needs", "in all", "batch"}) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
}

TEST(HostArray, IsZerosWithOneOwner) {
  HostArray<int32_t> first(host_device(), 1000);
  EXPECT_EQ(std::count(first.begin(), first.end(), 0), 1000);
  first[999] = 5;
  const HostArray<int32_t> second(std::move(first));
  EXPECT_EQ(second[999], 5);
  EXPECT_EQ(second.size(), 1000u);
}

class HostStream : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Stream> make() const { return host_device().make_stream(GetParam()); }
};

TEST_P(HostStream, WorksInOrder) {
  const auto stream = make();
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) stream->enqueue([&order, i] { order.push_back(i); });
  stream->synchronize();
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(HostStream, WritesAndReadsMemory) {
  const auto stream = make();
  const DeviceMemory memory(host_device(), 64);
  const std::vector<std::byte> bytes(16, std::byte{9});
  std::vector<std::byte> found(64);
  stream->write(memory.address() + 8, bytes);
  stream->read(found, memory.address());
  stream->synchronize();
  EXPECT_EQ(std::count(found.begin(), found.end(), std::byte{9}), 16);
  EXPECT_EQ(found[8], std::byte{9});
  EXPECT_EQ(found[7], std::byte{0});
}

TEST_P(HostStream, AnEventIsDoneBehindTheWorkBeforeIt) {
  const auto stream = make();
  const auto event = host_device().make_event();
  EXPECT_TRUE(event->done());  // nothing was recorded
  event->synchronize();
  std::atomic<int> value = 0;
  for (int i = 1; i <= 50; ++i) {  // recorded again and again
    stream->enqueue([&] { ++value; });
    stream->record(*event);
    event->synchronize();
    EXPECT_EQ(value, i);
    EXPECT_TRUE(event->done());
  }
}

TEST_P(HostStream, MeasuresItsWork) {
  const auto stream = make();
  double seconds = 0;
  stream->enqueue([] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }, &seconds);
  stream->synchronize();
  EXPECT_GE(seconds, 0.002);
}

INSTANTIATE_TEST_SUITE_P(Device, HostStream, testing::Bool(),
                         [](const auto& beside) { return beside.param ? "beside" : "here"; });

// The second stream sees what the first has done, in a chain there and back.
TEST(HostStreams, WaitForEachOther) {
  for (const bool first_beside : {false, true}) {
    const auto first = host_device().make_stream(first_beside), second = host_device().make_stream(true);
    const auto there = host_device().make_event(), back = host_device().make_event();
    int value = 0;  // each reads what the other wrote: no lock is needed if the order holds
    for (int i = 0; i < 200; ++i) {
      first->enqueue([&value, i] {
        EXPECT_EQ(value, 2 * i);
        ++value;
      });
      first->record(*there);
      second->wait(*there);
      second->enqueue([&value, i] {
        EXPECT_EQ(value, 2 * i + 1);
        ++value;
      });
      second->record(*back);
      first->wait(*back);
    }
    first->synchronize();
    second->synchronize();
    EXPECT_EQ(value, 400);
  }
}

// A later record of the same event is not what an earlier wait waits for: here it would never come.
TEST(HostStreams, AWaitMeansTheLastRecordSoFar) {
  const auto first = host_device().make_stream(true), second = host_device().make_stream(true);
  const auto event = host_device().make_event(), end = host_device().make_event();
  first->record(*event);
  second->wait(*event);
  second->record(*end);
  first->wait(*end);
  first->record(*event);
  first->synchronize();
  second->synchronize();
}

TEST(HostStreams, AFailureEndsWhoWaits) {
  const auto first = host_device().make_stream(true), second = host_device().make_stream(true);
  const auto event = host_device().make_event();
  bool ran = false;
  first->enqueue([] { throw std::runtime_error("broken"); });
  first->enqueue([&] { ran = true; });
  first->record(*event);
  second->wait(*event);
  second->enqueue([&] { ran = true; });
  EXPECT_THROW(second->synchronize(), std::runtime_error);
  EXPECT_THROW(event->synchronize(), std::runtime_error);
  EXPECT_THROW(first->synchronize(), std::runtime_error);
  EXPECT_THROW(host_device().make_stream(false)->wait(*event), std::runtime_error);
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace packhorse

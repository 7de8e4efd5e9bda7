#include "device/device.h"

#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "base/error.h"

namespace packhorse {
namespace {

TEST(Device, HostHasItsMemory) {
  const Device host = host_device();
  EXPECT_EQ(host.kind, DeviceKind::host);
  EXPECT_GT(host.memory_bytes, uint64_t{1} << 28);
}

TEST(DeviceMemory, IsAlignedAndInitiallyZero) {
  const DeviceMemory memory(host_device(), 3'000'001);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 64, 0u);
  EXPECT_EQ(memory.bytes(), 3'000'001u);
  EXPECT_TRUE(
      std::all_of(memory.data(), memory.data() + memory.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  memory.data()[memory.bytes() - 1] = std::byte{7};
}

TEST(DeviceMemory, HasOneOwner) {
  DeviceMemory first(host_device(), 4096);
  std::byte* const at = first.data();
  DeviceMemory second(std::move(first));
  EXPECT_EQ(second.data(), at);
  DeviceMemory third;
  third = std::move(second);
  EXPECT_EQ(third.data(), at);
  EXPECT_EQ(third.bytes(), 4096u);
}

TEST(DeviceMemory, OfZeroBytesIsNull) {
  const DeviceMemory memory(host_device(), 0);
  EXPECT_EQ(memory.data(), nullptr);
}

TEST(DeviceMemory, RefusesMoreThanTheHostHas) {
  const Device host = host_device();
  try {
    const DeviceMemory memory(host, host.memory_bytes + 1);
    FAIL() << "allocated more memory than the host has";
  } catch (const Error& error) {
    for (const char* words : {"out of memory: needs", "in all", "batch"}) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace packhorse

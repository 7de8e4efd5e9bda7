#include "device/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

TEST(Devices, EndWithTheHost) {
  const auto all = devices();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back().kind, DeviceKind::host);
  EXPECT_GT(all.back().memory_bytes, uint64_t{1} << 28);
}

TEST(DeviceMemory, BeginsAsAlignedZeros) {
  const DeviceMemory memory(devices().back(), 3'000'001);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 64, 0u);
  EXPECT_EQ(memory.bytes(), 3'000'001u);
  EXPECT_TRUE(
      std::all_of(memory.data(), memory.data() + memory.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  memory.data()[memory.bytes() - 1] = std::byte{7};
}

TEST(DeviceMemory, HasOneOwner) {
  DeviceMemory first(devices().back(), 4096);
  std::byte* const at = first.data();
  DeviceMemory second(std::move(first));
  EXPECT_EQ(second.data(), at);
  DeviceMemory third;
  third = std::move(second);
  EXPECT_EQ(third.data(), at);
  EXPECT_EQ(third.bytes(), 4096u);
}

TEST(DeviceMemory, OfNothingIsNothing) {
  const DeviceMemory memory(devices().back(), 0);
  EXPECT_EQ(memory.data(), nullptr);
}

TEST(DeviceMemory, RefusesMoreThanThereIs) {
  const Device host = devices().back();
  try {
    const DeviceMemory memory(host, host.memory_bytes + 1);
    FAIL() << "more memory than the machine has was given";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("batch"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace packhorse

// An array in a device's memory: initially zeros, page-aligned, one owner.
#pragma once

#include <span>

#include "device/device.h"

namespace packhorse {

template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  /// Throws an Error if the device does not have enough memory.
  DeviceArray(const Device& device, size_t count) : memory_(device, count * sizeof(T)), count_(count) {}
  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.data()); }
  size_t size() const { return count_; }
  uint64_t bytes() const { return memory_.bytes(); }
  std::span<T> span() { return {data(), count_}; }

 private:
  DeviceMemory memory_;
  size_t count_ = 0;
};

}  // namespace packhorse

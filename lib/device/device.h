// The device that a network runs on, and its memory. Today only the host; a CUDA build adds its devices and its own
// allocation here, and the code above does not change.
//
// Rule: memory has one owner, is allocated before the first step and freed after the last, and is initially zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace packhorse {

enum class DeviceKind { host, cuda };

struct Device {
  DeviceKind kind = DeviceKind::host;
  std::string name;
  uint64_t memory_bytes = 0;  ///< in total
};

Device host_device();

/// One block of a device's memory: initially zeros, aligned to at least 64 bytes. On the host it requests huge pages:
/// without them, strided reads over several gigabytes spend much of their time in the page tables.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// Throws an Error with the size and the device's memory if the device does not have enough.
  DeviceMemory(const Device& device, size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace packhorse

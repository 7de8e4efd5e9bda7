// Where a network runs, and the memory there. Host today; a CUDA build adds its devices to the list and its own way to
// get memory, and nothing above this room changes.
//
// Rule: memory has one owner, is asked for before the first step and given back after the last, and begins as zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace packhorse {

enum class DeviceKind { host, cuda };

struct Device {
  DeviceKind kind = DeviceKind::host;
  int index = 0;
  std::string name;
  uint64_t memory_bytes = 0;  ///< in all
};

/// What this build can run on here; the host is always the last resort and stands last.
std::vector<Device> devices();
Device host_device();

/// One block of a device's memory: zeros, aligned to 64 bytes at least. On the host it asks for huge pages, as a plan
/// of some gigabytes read in strides spends much of its time in the page tables otherwise.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// Throws an Error that names the size and what the device has.
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

#include "device/device.h"

#include <utility>

namespace packhorse {

void Device::repeat(Stream& /*main*/, const void* /*key*/, const std::function<void()>& enqueue) { enqueue(); }

DeviceMemory::DeviceMemory(Device& device, size_t bytes)
    : device_(&device), address_(bytes > 0 ? device.allocate(bytes) : DeviceAddress()), bytes_(bytes) {}

DeviceMemory::~DeviceMemory() {
  if (address_) device_->free(address_, bytes_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : device_(other.device_),
      address_(std::exchange(other.address_, DeviceAddress())),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

HostMemory::HostMemory(Device& device, size_t bytes)
    : device_(&device), address_(bytes > 0 ? device.allocate_host(bytes) : nullptr), size_(bytes) {}

HostMemory::~HostMemory() {
  if (address_ != nullptr) device_->free_host(address_, size_);
}

HostMemory::HostMemory(HostMemory&& other) noexcept
    : device_(other.device_), address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace packhorse

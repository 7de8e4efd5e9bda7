#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "device/device.h"

namespace packhorse {

Device host_device() {
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  const auto page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return {DeviceKind::host, "cpu", pages * page_bytes};
}

DeviceMemory::DeviceMemory(const Device& device, size_t bytes) : bytes_(bytes) {
  if (device.kind != DeviceKind::host)
    throw Error({"this build cannot allocate memory on this device", device.name, ""});
  if (bytes == 0) return;
  // Without MAP_NORESERVE the kernel can refuse here, before the first step, instead of killing the run later.
  void* const at = bytes <= device.memory_bytes
                       ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : MAP_FAILED;
  if (at == MAP_FAILED) {
    throw Error({"out of memory: needs " + bytes_text(static_cast<double>(bytes)) + ", " +
                     bytes_text(static_cast<double>(device.memory_bytes)) + " in all",
                 device.name, "use a smaller batch, bf16, or --recompute"});
  }
  madvise(at, bytes, MADV_HUGEPAGE);  // optional: if the kernel refuses, the result is the same, only slower
  data_ = static_cast<std::byte*>(at);
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace packhorse

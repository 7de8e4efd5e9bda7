#include "standin/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "standin/standin.h"

namespace packhorse::standin {
namespace {

constexpr size_t kPage = 4096, kAlign = 256;
/// Addresses of one device; nothing lies behind most of them.
constexpr size_t kArena = size_t{256} << 30;
constexpr int kPoison = 0xff;
/// In the bytes between an allocation's end and its last page's.
constexpr std::byte kCanary{0xa5};

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

void protect(const Allocation& allocation, bool open) {
  if (mprotect(allocation.pages, allocation.page_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
    abort_with("mprotect of device memory failed");
  }
}

std::string hex(const void* address) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%p", address);
  return buffer;
}

}  // namespace

Memory::Memory(int devices, size_t capacity) : capacity_(capacity), arenas_(static_cast<size_t>(devices) + 1) {
  for (Arena& arena : arenas_) {
    void* mapped = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) abort_with("no addresses for the memory of a device");
    arena.begin = arena.free = static_cast<std::byte*>(mapped);
  }
}

Allocation Memory::place(size_t arena, size_t bytes) {
  Arena& from = arenas_[arena];
  const size_t aligned = round_up(bytes, kAlign), pages = round_up(aligned, kPage);
  if (pages + kPage > static_cast<size_t>(from.begin + kArena - from.free)) {
    abort_with("a device's addresses are used up: freed ones are not used again");
  }
  const bool of_host = arena + 1 == arenas_.size();
  const Allocation allocation{from.free + (pages - aligned), bytes, from.free, pages,
                              of_host ? -1 : static_cast<int>(arena)};
  from.free += pages + kPage;
  from.used += bytes;
  protect(allocation, true);
  std::memset(allocation.begin, kPoison, bytes);
  std::memset(allocation.begin + bytes, std::to_integer<int>(kCanary), aligned - bytes);
  live_[allocation.begin] = allocation;
  return allocation;
}

void* Memory::allocate(int device, size_t bytes) {
  if (bytes > capacity_ - used(device)) return nullptr;
  const Allocation allocation = place(static_cast<size_t>(device), bytes);
  if (open_ != device) protect(allocation, false);
  return allocation.begin;
}

void* Memory::allocate_host(size_t bytes) { return place(arenas_.size() - 1, bytes).begin; }

bool Memory::free(void* address, bool of_device, bool* freed) {
  const auto found = live_.find(address);
  *freed = freed_.contains(address);
  if (found == live_.end() || (found->second.device >= 0) != of_device) return false;
  const Allocation allocation = found->second;
  protect(allocation, true);
  check_end(allocation);
  madvise(allocation.pages, allocation.page_bytes, MADV_DONTNEED);
  protect(allocation, false);
  Arena& arena = of_device ? arenas_[static_cast<size_t>(allocation.device)] : arenas_.back();
  arena.used -= allocation.bytes;
  freed_[address] = allocation.bytes;
  live_.erase(found);
  return true;
}

const Allocation* Memory::find(const void* address) const {
  const auto behind = live_.upper_bound(address);
  if (behind == live_.begin()) return nullptr;
  const Allocation& allocation = std::prev(behind)->second;
  return address < allocation.begin + allocation.bytes ? &allocation : nullptr;
}

bool Memory::owns(const void* address) const {
  return std::ranges::any_of(
      arenas_, [&](const Arena& arena) { return address >= arena.begin && address < arena.begin + kArena; });
}

void Memory::open(int device) {
  if (device == open_) return;
  for (const auto& [begin, allocation] : live_) {
    if (allocation.device < 0) continue;
    if (allocation.device == open_) {
      check_end(allocation);
      protect(allocation, false);
    }
    if (allocation.device == device) protect(allocation, true);
  }
  open_ = device;
}

std::string Memory::describe(const void* address) const {
  std::string text = hex(address);
  if (const Allocation* allocation = find(address)) {
    const std::string offset = std::to_string(static_cast<const std::byte*>(address) - allocation->begin);
    text += " (byte " + offset + " of an allocation of " + std::to_string(allocation->bytes) + " bytes ";
    return text + (allocation->device < 0 ? "in page-locked memory)"
                                          : "on device " + std::to_string(allocation->device) + ")");
  }
  if (!owns(address)) return text + " (memory of the host)";
  auto near = [&](const auto& blocks, auto bytes_of) -> std::string {
    const auto behind = blocks.upper_bound(address);
    if (behind == blocks.begin()) return {};
    const auto& [begin, block] = *std::prev(behind);
    const size_t offset =
        static_cast<size_t>(static_cast<const std::byte*>(address) - static_cast<const std::byte*>(begin));
    const size_t bytes = bytes_of(block);
    if (offset >= bytes + 2 * kPage) return {};
    return (offset < bytes ? "byte " + std::to_string(offset) + " of"
                           : std::to_string(offset - bytes) + " bytes behind") +
           std::string(" an allocation of ") + std::to_string(bytes) + " bytes";
  };
  const std::string freed = near(freed_, [](size_t bytes) { return bytes; });
  const std::string live = near(live_, [](const Allocation& one) { return one.bytes; });
  if (!live.empty()) return text + " (" + live + ")";
  if (!freed.empty()) return text + " (" + freed + " that was freed)";
  return text + " (in no allocation)";
}

void Memory::check_end(const Allocation& allocation) {
  const std::byte* end = allocation.begin + allocation.bytes;
  const std::byte* stop = allocation.pages + allocation.page_bytes;
  if (std::all_of(end, stop, [](std::byte byte) { return byte == kCanary; })) return;
  abort_with("somebody wrote behind the end of an allocation of " + std::to_string(allocation.bytes) + " bytes at " +
             hex(allocation.begin));
}

void Memory::check_ends() const {
  for (const auto& [begin, allocation] : live_)
    if (allocation.device < 0) check_end(allocation);
}

}  // namespace packhorse::standin

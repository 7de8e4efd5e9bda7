#include "standin/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "standin/standin.h"

namespace packhorse::standin {
namespace {

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20, kAlign = 256;
/// Addresses of one device; nothing lies behind most of them.
constexpr size_t kArena = size_t{256} << 30;
constexpr int kPoison = 0xff;
/// In the bytes between an allocation's end and its last page's.
constexpr std::byte kCanary{0xa5};

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

/// The thread's right to what a key protects.
void allow(int key, bool allowed) { pkey_set(key, allowed ? 0U : unsigned{PKEY_DISABLE_ACCESS}); }

/// A key for each device, or none at all.
std::vector<int> make_keys(int devices) {
  const char* wanted = std::getenv("PACKHORSE_STANDIN_PKEYS");
  std::vector<int> keys;
  if (wanted != nullptr && std::string(wanted) == "0") return keys;
  for (int device = 0; device < devices; ++device) keys.push_back(pkey_alloc(0, PKEY_DISABLE_ACCESS));
  if (std::ranges::all_of(keys, [](int key) { return key > 0; })) return keys;
  for (const int key : keys) pkey_free(key);
  return {};
}

/// For its life, the thread may read and write what the key protects.
class Allowed {
 public:
  explicit Allowed(int key) : key_(key), before_(key < 0 ? 0 : pkey_get(key)) {
    if (key_ >= 0) allow(key_, true);
  }
  ~Allowed() {
    if (key_ >= 0) pkey_set(key_, static_cast<unsigned>(before_));
  }
  Allowed(const Allowed&) = delete;
  Allowed& operator=(const Allowed&) = delete;

 private:
  int key_, before_;
};

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
  const std::vector<int> keys = make_keys(devices);
  for (size_t device = 0; device < keys.size(); ++device) arenas_[device].key = keys[device];
}

const Memory::Arena& Memory::arena_of(const Allocation& allocation) const {
  return allocation.device < 0 ? arenas_.back() : arenas_[static_cast<size_t>(allocation.device)];
}

void Memory::protect(const Allocation& allocation, bool open) const {
  const int key = arena_of(allocation).key, rights = open ? PROT_READ | PROT_WRITE : PROT_NONE;
  const int error = key < 0 ? mprotect(allocation.pages, allocation.page_bytes, rights)
                            : pkey_mprotect(allocation.pages, allocation.page_bytes, rights, key);
  if (error != 0) abort_with("mprotect of device memory failed");
}

Allocation Memory::place(size_t number, size_t bytes) {
  Arena& arena = arenas_[number];
  // Huge pages, where there is much: a change of their rights is fast.
  const size_t page = bytes < kHugePage ? kPage : kHugePage;
  const size_t aligned = round_up(bytes, kAlign), pages = round_up(aligned, page);
  std::byte* begin = arena.begin + (round_up(reinterpret_cast<uintptr_t>(arena.free), page) -
                                    reinterpret_cast<uintptr_t>(arena.begin));
  if (begin + pages + kPage > arena.begin + kArena) {
    abort_with("a device's addresses are used up: freed ones are not used again");
  }
  const bool of_host = number + 1 == arenas_.size();
  const Allocation allocation{begin + (pages - aligned), bytes, begin, pages, of_host ? -1 : static_cast<int>(number)};
  arena.free = begin + pages + kPage;
  arena.used += bytes;
  if (page == kHugePage) madvise(begin, pages, MADV_HUGEPAGE);
  protect(allocation, true);
  const Allowed allowed(arena.key);
  std::memset(allocation.begin, kPoison, bytes);
  std::memset(allocation.begin + bytes, std::to_integer<int>(kCanary), aligned - bytes);
  live_[allocation.begin] = allocation;
  return allocation;
}

void* Memory::allocate(int device, size_t bytes) {
  if (bytes > capacity_ - used(device)) return nullptr;
  const Allocation allocation = place(static_cast<size_t>(device), bytes);
  if (arena_of(allocation).key < 0 && open_ != device) protect(allocation, false);
  return allocation.begin;
}

void* Memory::allocate_host(size_t bytes) { return place(arenas_.size() - 1, bytes).begin; }

bool Memory::free(void* address, bool of_device, bool* freed) {
  const auto found = live_.find(address);
  *freed = freed_.contains(address);
  if (found == live_.end() || (found->second.device >= 0) != of_device) return false;
  const Allocation allocation = found->second;
  if (arena_of(allocation).key < 0) protect(allocation, true);
  {
    const Allowed allowed(arena_of(allocation).key);
    check_end(allocation);
  }
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
    const bool by_pages = arena_of(allocation).key < 0;
    if (allocation.device == open_) {
      check_end(allocation);
      if (by_pages) protect(allocation, false);
    }
    if (allocation.device == device && by_pages) protect(allocation, true);
  }
  for (const int one : {open_, device}) {
    if (one < 0 || arenas_[static_cast<size_t>(one)].key < 0) continue;
    allow(arenas_[static_cast<size_t>(one)].key, one == device);
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
  // Within a freed allocation, or not far behind one of either kind.
  const auto near = [&](const auto& blocks, auto bytes_of, size_t far) -> std::string {
    const auto behind = blocks.upper_bound(address);
    if (behind == blocks.begin()) return {};
    const auto& [begin, block] = *std::prev(behind);
    const auto offset =
        static_cast<size_t>(static_cast<const std::byte*>(address) - static_cast<const std::byte*>(begin));
    const size_t bytes = bytes_of(block);
    if (offset >= bytes + far) return {};
    const std::string where =
        offset < bytes ? "byte " + std::to_string(offset) + " of" : std::to_string(offset - bytes) + " bytes behind";
    return " (" + where + " an allocation of " + std::to_string(bytes) + " bytes";
  };
  const auto freed = [](size_t bytes) { return bytes; };
  if (const std::string where = near(freed_, freed, 0); !where.empty()) return text + where + " that was freed)";
  const auto live = [](const Allocation& one) { return one.bytes; };
  if (const std::string where = near(live_, live, 2 * kPage); !where.empty()) return text + where + ")";
  return text + " (in no allocation)";
}

void Memory::check_end(const Allocation& allocation) {
  const std::byte* end = allocation.begin + allocation.bytes;
  const std::byte* stop = allocation.pages + allocation.page_bytes;
  if (std::all_of(end, stop, [](std::byte byte) { return byte == kCanary; })) return;
  abort_with("somebody wrote behind the end of an allocation of " + std::to_string(allocation.bytes) + " bytes at " +
             hex(allocation.begin));
}

}  // namespace packhorse::standin

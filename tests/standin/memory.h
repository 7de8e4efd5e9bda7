// A device's memory: addresses that nobody can read or write except while a node of that device runs.
//
// Each allocation lies at the end of its own pages, 256-byte aligned and no more, with a page behind it that is never
// opened: what runs over the end by more than its last 255 bytes stops there. It is poisoned with 0xff. Freed addresses
// are never used again. A touch of memory that is closed ends the process with a line that says who did it.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace packhorse::standin {

struct Allocation {
  std::byte* begin;
  size_t bytes;
  std::byte* pages;
  size_t page_bytes;  ///< without the page behind it
  int device;         ///< -1: page-locked memory of the host
};

/// Of all devices and of the host. Whoever calls holds the lock of the nodes.
class Memory {
 public:
  Memory(int devices, size_t capacity);

  /// Null if the device has no such memory left. `bytes` is not 0.
  void* allocate(int device, size_t bytes);
  void* allocate_host(size_t bytes);
  /// False if none begins there; `freed` says whether one did.
  bool free(void* address, bool of_device, bool* freed);

  /// The live allocation that holds the address, or null.
  const Allocation* find(const void* address) const;
  /// Whether the address is one that this memory gives out, alive or not.
  bool owns(const void* address) const;

  size_t capacity() const { return capacity_; }
  size_t used(int device) const { return arenas_[static_cast<size_t>(device)].used; }

  /// Lets the calling thread, and all others, at the memory of one device: -1 of none.
  void open(int device);

  /// What an address is, for a message.
  std::string describe(const void* address) const;
  /// Ends the process if somebody wrote behind an allocation.
  void check_ends() const;

 private:
  struct Arena {
    std::byte* begin = nullptr;
    std::byte* free = nullptr;  ///< addresses that were never given out
    size_t used = 0;
  };
  Allocation place(size_t arena, size_t bytes);
  static void check_end(const Allocation& allocation);

  size_t capacity_;
  std::vector<Arena> arenas_;  // the last one is the host's
  std::map<const void*, Allocation> live_;
  std::map<const void*, size_t> freed_;
  int open_ = -1;
};

}  // namespace packhorse::standin

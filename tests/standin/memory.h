// A device's memory: addresses that nobody can read or write except while a node of that device runs.
//
// Each allocation lies at the end of its own pages, 256-byte aligned and no more, with a page behind it that is never
// opened: what runs over the end by more than its last 255 bytes stops there. It is poisoned with 0xff. Freed addresses
// are never used again. A touch of memory that is closed ends the process with a line that says who did it.
//
// Where the processor has protection keys, a device's memory is opened for one thread, by one instruction. Elsewhere
// (PACKHORSE_STANDIN_PKEYS=0 is elsewhere too) by mprotect, for all threads, which takes its time with much memory.
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

  /// Lets the calling thread at the memory of one device: -1 of none. One thread at a time does this.
  void open(int device);

  /// What an address is, for a message.
  std::string describe(const void* address) const;

 private:
  struct Arena {
    std::byte* begin = nullptr;
    std::byte* free = nullptr;  ///< addresses that were never given out
    size_t used = 0;
    int key = -1;  ///< protects it, if the processor has keys
  };
  Allocation place(size_t arena, size_t bytes);
  const Arena& arena_of(const Allocation& allocation) const;
  void protect(const Allocation& allocation, bool open) const;
  static void check_end(const Allocation& allocation);

  size_t capacity_;
  std::vector<Arena> arenas_;  // the last one is the host's
  std::map<const void*, Allocation> live_;
  std::map<const void*, size_t> freed_;
  int open_ = -1;
};

}  // namespace packhorse::standin

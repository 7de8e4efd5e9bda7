// The toy's memory: bytes behind handles that only the toy can follow, and for each byte who wrote it last.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/text.h"
#include "device/device.h"

namespace packhorse::toy {

/// Somebody broke a rule of the device.
class Fault : public Error {
 public:
  explicit Fault(std::string what, std::string where = "") : Error({std::move(what), std::move(where), ""}) {}
};

/// What a byte of nobody holds: a number that is none, in every type.
inline constexpr std::byte kPoison{0xff};

/// Who wrote a byte last.
using Mark = uint32_t;
inline constexpr Mark kNobody = 0, kGiven = 1;  ///< kGiven: the host, or the allocation with its zeros
inline constexpr Mark kFirstValue = 2;          ///< the values of a program, from here on

/// A block's bytes and their marks.
struct Bytes {
  std::span<std::byte> data;
  std::span<Mark> marks;
};

class Memory {
 public:
  static constexpr uint64_t kBytes = uint64_t{2} << 30;

  DeviceAddress allocate(size_t bytes) {
    if (bytes > kBytes - used_)
      throw Error({"out of memory: needs " + bytes_text(static_cast<double>(bytes)) + ", " +
                       bytes_text(static_cast<double>(kBytes)) + " in all",
                   "toy", "use a smaller batch"});
    used_ += bytes;
    blocks_[++last_] = {std::vector<std::byte>(bytes), std::vector<Mark>(bytes, kGiven)};
    return DeviceAddress((kTag << kTagShift) | (last_ << kOffsetBits));
  }
  void free(DeviceAddress address) {
    used_ -= find(address).data.size();
    blocks_.erase(number_of(address));
  }

  /// Throws a Fault unless all bytes lie in one block that is not freed.
  Bytes at(DeviceAddress address, size_t bytes) {
    Block& block = find(address);
    const uint64_t offset = address.bits() & kOffsetMask;
    if (offset + bytes > block.data.size())
      throw Fault(fmt::format("{} bytes at byte {} lie outside block {}, which has {}", bytes, offset,
                              number_of(address), block.data.size()));
    return {std::span(block.data).subspan(offset, bytes), std::span(block.marks).subspan(offset, bytes)};
  }
  /// Forgets what the address's whole block holds.
  void forget(DeviceAddress address) {
    Block& block = find(address);
    std::fill(block.data.begin(), block.data.end(), kPoison);
    std::fill(block.marks.begin(), block.marks.end(), kNobody);
  }

 private:
  struct Block {
    std::vector<std::byte> data;
    std::vector<Mark> marks;
  };
  // A handle is a tag, the number of its block and the offset in it. Bits 62 and 63 differ, and bits 52 and 54 are set:
  // no 64-bit processor of today takes that as an address of a process.
  static constexpr uint64_t kTag = 0x4a5;
  static constexpr int kTagShift = 52, kOffsetBits = 32;
  static constexpr uint64_t kOffsetMask = (uint64_t{1} << kOffsetBits) - 1;
  static constexpr uint64_t kNumberMask = (uint64_t{1} << (kTagShift - kOffsetBits)) - 1;

  static uint64_t number_of(DeviceAddress address) { return address.bits() >> kOffsetBits & kNumberMask; }
  Block& find(DeviceAddress address) {
    if (address.bits() >> kTagShift != kTag)
      throw Fault(fmt::format("{:#x} is no address of the device", address.bits()));
    const auto found = blocks_.find(number_of(address));
    if (found != blocks_.end()) return found->second;
    const bool freed = number_of(address) <= last_;  // a number is never given twice
    throw Fault(fmt::format("block {} {}", number_of(address), freed ? "is used after it was freed" : "never existed"));
  }

  std::unordered_map<uint64_t, Block> blocks_;
  uint64_t last_ = 0, used_ = 0;
};

/// Memory of the host that the device copies from and to without help.
class PinnedMemory {
 public:
  std::byte* allocate(size_t bytes) {
    auto* const at = static_cast<std::byte*>(::operator new[](bytes, kAlignment));
    std::fill_n(at, bytes, std::byte{0});
    blocks_[at] = {bytes, ++last_};
    return at;
  }
  void free(std::byte* address) {
    blocks_.erase(address);
    ::operator delete[](address, kAlignment);
  }
  /// The number of the block that has the byte; 0: it is memory of somebody else.
  uint64_t block_with(const void* address) const {
    const auto* const byte = static_cast<const std::byte*>(address);
    auto next = blocks_.upper_bound(byte);
    if (next == blocks_.begin()) return 0;
    const auto& [begin, block] = *--next;
    return byte < begin + block.bytes ? block.number : 0;
  }

 private:
  struct Block {
    size_t bytes = 0;
    uint64_t number = 0;
  };
  static constexpr std::align_val_t kAlignment{64};
  std::map<const std::byte*, Block, std::less<>> blocks_;
  uint64_t last_ = 0;
};

}  // namespace packhorse::toy

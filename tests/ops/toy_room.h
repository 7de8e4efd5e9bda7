// What a kernel of the toy sees of the device's memory: private copies of the bytes that its node names, and nothing
// else. The copies move from run to run, and are watched after the run too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ops/toy_memory.h"

namespace packhorse::toy {

/// The bytes of an operand: rows of equal distance.
struct Rows {
  DeviceAddress base;  ///< where the first row of the whole value begins
  int64_t count = 1, distance = 0, first = 0, length = 0;

  DeviceAddress row(int64_t r) const { return base + r * distance + first; }
  DeviceAddress begin() const { return row(0); }
  DeviceAddress end() const { return row(count - 1) + length; }
  template <typename Visit>
  void each_row(const Visit& visit) const {
    for (int64_t r = 0; r < count; ++r) visit(row(r));
  }
  bool overlaps(const Rows& other) const {
    if (begin() >= other.end() || other.begin() >= end()) return false;
    if (base != other.base || distance != other.distance || count != other.count) return true;
    return first < other.first + other.length && other.first < first + length;
  }
};

/// Consecutive bytes of the device, copied: poison wherever nothing was copied to, and around them.
class Window {
 public:
  Window(DeviceAddress begin, DeviceAddress end)
      : begin_(begin), end_(end), bytes_(end.bits() - begin.bits() + 2 * kMargin, kPoison) {}
  bool has(DeviceAddress address) const { return address >= begin_ && address < end_; }
  std::byte* at(DeviceAddress address) { return bytes_.data() + kMargin + (address.bits() - begin_.bits()); }
  std::vector<std::byte>& bytes() { return bytes_; }
  bool operator==(const Window& other) const = default;

 private:
  static constexpr size_t kMargin = 64;
  DeviceAddress begin_, end_;
  std::vector<std::byte> bytes_;
};

class Room {
 public:
  /// Operands of one value, and those that share bytes, lie to each other as they do in the device's memory.
  explicit Room(const std::vector<Rows>& operands) {
    std::map<DeviceAddress, std::pair<DeviceAddress, DeviceAddress>> spans;  // by value
    for (const Rows& rows : operands) {
      auto& [begin, end] = spans.try_emplace(rows.base, rows.begin(), rows.end()).first->second;
      begin = std::min(begin, rows.begin()), end = std::max(end, rows.end());
    }
    std::vector<std::pair<DeviceAddress, DeviceAddress>> sorted;
    sorted.reserve(spans.size());
    for (const auto& [base, span] : spans) sorted.push_back(span);
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size();) {
      auto [begin, end] = sorted[i];
      for (++i; i < sorted.size() && sorted[i].first < end; ++i) end = std::max(end, sorted[i].second);
      windows_.emplace_back(begin, end);
    }
  }

  /// Where the kernel finds a byte of an operand.
  std::byte* at(DeviceAddress address) {
    for (Window& window : windows_)
      if (window.has(address)) return window.at(address);
    throw Fault("no operand has this address");
  }
  void load(Memory& memory, const Rows& operand) {
    operand.each_row([&](DeviceAddress row) {
      const Bytes bytes = memory.at(row, static_cast<size_t>(operand.length));
      std::copy(bytes.data.begin(), bytes.data.end(), at(row));
    });
  }
  /// True if it differs from what it was `before` anywhere but in these operands.
  bool differs(Room before, const std::vector<Rows>& results) {
    for (const Rows& result : results)
      result.each_row([&](DeviceAddress row) { std::copy_n(at(row), result.length, before.at(row)); });
    return windows_ != before.windows_;
  }
  std::vector<Window> take_windows() { return std::move(windows_); }

 private:
  std::vector<Window> windows_;
};

/// Private copies of runs that have ended: a kernel that kept a pointer finds poison there, and what it writes is seen.
class Remains {
 public:
  void add(Room& room) {
    for (Window& window : room.take_windows()) {
      std::fill(window.bytes().begin(), window.bytes().end(), kPoison);
      bytes_ += window.bytes().size();
      windows_.push_back(std::move(window));
    }
    for (; bytes_ > kMost; windows_.pop_front()) {
      check(windows_.front());
      bytes_ -= windows_.front().bytes().size();
    }
  }
  void check() {
    for (Window& window : windows_) check(window);
  }

 private:
  static constexpr size_t kMost = size_t{16} << 20;
  static void check(Window& window) {
    const std::vector<std::byte>& bytes = window.bytes();
    if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != kPoison; }))
      throw Fault("a kernel wrote to the memory of an earlier run");
  }
  std::deque<Window> windows_;
  size_t bytes_ = 0;
};

}  // namespace packhorse::toy

// What the operations of one executor share: the number of threads, and scratch memory that an operation may use only
// while it runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "device/array.h"
#include "ops/cpu/kernels.h"
#include "tensor/types.h"

namespace packhorse::cpu {

class Context {
 public:
  Context(int threads, bool training) : threads_(threads), training_(training) {}

  int threads() const { return threads_; }
  bool training() const { return training_; }

  /// Requests scratch while operations are made. give_scratch() then calls `attach` once with the address: the same for
  /// all operations, aligned to a page.
  void want_scratch(size_t bytes, std::function<void(std::byte*)> attach) {
    scratch_bytes_ = std::max(scratch_bytes_, bytes);
    waiting_.push_back(std::move(attach));
  }
  void give_scratch() {
    scratch_ = DeviceArray<std::byte>(host_device(), scratch_bytes_);
    for (const auto& attach : waiting_) attach(scratch_.data());
    waiting_.clear();
  }
  uint64_t scratch_bytes() const { return scratch_bytes_; }

  void count_packed(uint64_t bytes) { packed_bytes_ += bytes; }
  uint64_t packed_bytes() const { return packed_bytes_; }

  /// Calls body(i) for i in [0, count); a thread gets consecutive values of i.
  template <typename Body>
  void each(int64_t count, const Body& body) const {
    const int team = static_cast<int>(std::min<int64_t>(threads_, count));
    if (team <= 1) {
      for (int64_t i = 0; i < count; ++i) body(i);
      return;
    }
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < count; ++i) body(i);
  }

 private:
  const int threads_;
  const bool training_;
  DeviceArray<std::byte> scratch_;
  size_t scratch_bytes_ = 0;
  uint64_t packed_bytes_ = 0;
  std::vector<std::function<void(std::byte*)>> waiting_;
};

inline Rows rows_from(const View& view, int64_t pixel) {
  return {static_cast<std::byte*>(view.data) + pixel * view.pixel_stride * static_cast<int64_t>(size_of(view.dtype)),
          view.pixel_stride};
}

/// Cuts the pixels of a batch into chunks that fit into a core's cache. Depends on the shape alone, see kernels.h.
class Chunks {
 public:
  Chunks(int64_t pixels, int64_t channels)
      : pixels_(pixels), size_(std::clamp<int64_t>(kElements / std::max<int64_t>(channels, 1), kFewest, kMax)) {}
  int64_t count() const { return (pixels_ + size_ - 1) / size_; }
  int64_t first(int64_t chunk) const { return chunk * size_; }
  int64_t size(int64_t chunk) const { return std::min(size_, pixels_ - first(chunk)); }

 private:
  static constexpr int64_t kElements = 65536, kFewest = 64, kMax = 4096;
  int64_t pixels_, size_;
};

}  // namespace packhorse::cpu

// What the kernels of one backend share: the number of threads, and what oneDNN was asked before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "ops/cpu/kernels.h"
#include "tensor/types.h"

namespace packhorse::cpu {

class Convolutions;  // convolution.cc

class Context {
 public:
  Context(Dtype dtype, int threads, bool training);
  Context(Context&&) noexcept;
  ~Context();

  Dtype dtype() const { return dtype_; }
  int threads() const { return threads_; }
  bool training() const { return training_; }
  Convolutions& convolutions() { return *convolutions_; }

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
  Dtype dtype_;
  int threads_;
  bool training_;
  std::unique_ptr<Convolutions> convolutions_;
};

inline Rows rows_from(const View& view, int64_t pixel) {
  return {static_cast<std::byte*>(view.data) + pixel * view.pixel_stride * static_cast<int64_t>(size_of(view.dtype)),
          view.pixel_stride};
}

/// Cuts the pixels of a batch into chunks that fit into a core's cache. Depends on the shape alone, see kernels.h.
class Chunks {
 public:
  explicit Chunks(const Shape& shape)
      : pixels_(shape.pixels()), size_(std::clamp<int64_t>(kElements / std::max<int64_t>(shape.c, 1), kFewest, kMax)) {}
  int64_t count() const { return (pixels_ + size_ - 1) / size_; }
  int64_t first(int64_t chunk) const { return chunk * size_; }
  int64_t size(int64_t chunk) const { return std::min(size_, pixels_ - first(chunk)); }

 private:
  static constexpr int64_t kElements = 65536, kFewest = 64, kMax = 4096;
  int64_t pixels_, size_;
};

/// Where a gradient is written, and the sum of the contributions before it.
class Gradient {
 public:
  Gradient(const Site& site, const std::string& role) : dst_(site.view(role)), addend_(site.view(role + "_addend")) {}
  const View& view() const { return dst_; }
  /// True if the kernel must add to what is there after begin().
  bool accumulates() const { return addend_.data != nullptr; }
  /// The addend normally lies there already: the plan puts the two at one place.
  void begin(const Context& context) const {
    if (!accumulates() || addend_.data == dst_.data) return;
    const Chunks chunks(dst_.shape);
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      masked_gradient(dst_.dtype, {}, rows_from(addend_, first), rows_from(dst_, first), chunks.size(chunk),
                      dst_.shape.c, false);
    });
  }

 private:
  View dst_, addend_;
};

}  // namespace packhorse::cpu

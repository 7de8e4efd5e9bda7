// How the files that launch kernels do it: a form of a kernel for a type, wide where the memory allows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "ops/cuda/context.h"
#include "ops/cuda/tiles.h"
#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

/// A kernel's type and the channels that one thread takes at a time.
template <typename T, int kChannels>
struct Form {
  using type = T;
  static constexpr int length = kChannels;
};

/// visit(Form): for values of this type, whose channels can be read 16 bytes at a time, or not.
template <typename Visit>
void with_form(Dtype dtype, bool vectors, const Visit& visit) {
  switch (dtype) {
    case Dtype::f16:
      return vectors ? visit(Form<__half, kVector<__half>>()) : visit(Form<__half, 1>());
    case Dtype::bf16:
      return vectors ? visit(Form<__nv_bfloat16, kVector<__nv_bfloat16>>()) : visit(Form<__nv_bfloat16, 1>());
    default:
      return vectors ? visit(Form<float, kVector<float>>()) : visit(Form<float, 1>());
  }
}

/// True if these channels can be read and written in vectors of `length` elements.
inline bool fits(const View& view, int64_t length) {
  const auto bytes = static_cast<uintptr_t>(length) * size_of(view.dtype);
  return view.data == nullptr || (view.shape.c % length == 0 && view.pixel_stride % length == 0 &&
                                  reinterpret_cast<uintptr_t>(view.data) % bytes == 0);
}
inline bool vectors(Dtype dtype, std::initializer_list<View> views) {
  const auto length = static_cast<int64_t>(16 / size_of(dtype));
  return std::all_of(views.begin(), views.end(), [&](const View& view) { return fits(view, length); });
}

template <typename T>
Pixels<const T> in(const View& view) {
  return {static_cast<const T*>(view.data), view.pixel_stride};
}
template <typename T>
Pixels<T> out(const View& view) {
  return {static_cast<T*>(view.data), view.pixel_stride};
}

inline unsigned pixels_of(const View& view) { return static_cast<unsigned>(view.shape.pixels()); }
inline unsigned channels_of(const View& view) { return static_cast<unsigned>(view.shape.c); }

inline Image image_of(const View& view) {
  return {static_cast<unsigned>(view.shape.n), static_cast<unsigned>(view.shape.h),
          static_cast<unsigned>(view.shape.w)};
}
inline unsigned area_of(const View& view) { return static_cast<unsigned>(view.shape.h * view.shape.w); }
/// visit(Window) for a kernel that reads vectors or not: those of networks, known to the compiler, or any.
template <typename Form, typename Visit>
void with_window(const PoolWindow& window, Form /*form*/, const Visit& visit) {
  if constexpr (Form::length > 1) {
    if (window.kernel == 3 && window.stride == 1) return visit(Window<3, 1>{window});
    if (window.kernel == 3 && window.stride == 2) return visit(Window<3, 2>{window});
  }
  visit(Window<0, 0>{window});
}
/// What a thread of a max pool's gradient takes at a time: pixels of the source, or squares of 2×2 (PoolGradient).
template <int kKernel, int kStride>
int64_t gradient_units(const Window<kKernel, kStride>& window) {
  const Image& src = window.of.src;
  if constexpr (kKernel == 3 && kStride == 2) {
    const Image squares = squares_of(window);
    return static_cast<int64_t>(squares.n) * squares.h * squares.w;
  } else {
    return static_cast<int64_t>(src.n) * src.h * src.w;
  }
}
inline PoolWindow window_of(const Site& site, const View& src, const View& dst) {
  return {image_of(src), image_of(dst), site.integer("kernel"), site.integer("stride"), site.integer("pad")};
}
/// A block for each image.
inline Tiles image_tiles(const View& view, int64_t length) {
  Tiles t = tiles(view.shape.h * view.shape.w, view.shape.c / length, 1);
  t.grid.x = static_cast<unsigned>(view.shape.n);
  return t;
}

constexpr unsigned kThreads = 256;
/// Blocks for one thread an element.
inline unsigned blocks_for(int64_t elements) { return static_cast<unsigned>((elements + kThreads - 1) / kThreads); }
/// Blocks for threads that take several elements, one after the other.
inline unsigned few_blocks_for(int64_t elements) { return std::min(blocks_for(elements), 2112u); }

inline cudaStream_t stream_of(const Site& site) { return cuda::stream_of(site.stream()); }
/// After each launch.
inline void launched(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace packhorse::cuda

// Pools: a thread has kLength channels of a pixel of the result. Gradients gather, so no two threads write to one
// place.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

struct Place {
  unsigned n;
  int y, x;
};
__device__ inline Place place_of(unsigned pixel, const Image& image) {
  const unsigned row = pixel / image.w;
  return {row / image.h, static_cast<int>(row % image.h), static_cast<int>(pixel % image.w)};
}
__device__ inline int64_t pixel_of(unsigned n, int y, int x, const Image& image) {
  return (static_cast<int64_t>(n) * image.h + static_cast<unsigned>(y)) * image.w + static_cast<unsigned>(x);
}

/// visit(pixel of the source, place in the window) for each one inside the image.
template <int kKernel, int kStride, typename Visit>
__device__ inline void each_tap(const Window<kKernel, kStride>& window, const Place& at, const Visit& visit) {
  const int top = at.y * window.stride() - window.of.pad, left = at.x * window.stride() - window.of.pad;
#pragma unroll
  for (int i = 0; i < window.kernel(); ++i) {
#pragma unroll
    for (int j = 0; j < window.kernel(); ++j) {
      const int y = top + i, x = left + j;
      if (y >= 0 && y < static_cast<int>(window.of.src.h) && x >= 0 && x < static_cast<int>(window.of.src.w))
        visit(pixel_of(at.n, y, x, window.of.src), i * window.kernel() + j);
    }
  }
}

/// visit(pixel of the result, place in its window) for each window that has this pixel of the source.
template <int kKernel, int kStride, typename Visit>
__device__ inline void each_window(const Window<kKernel, kStride>& window, const Place& at, const Visit& visit) {
  const int y = at.y + window.of.pad, x = at.x + window.of.pad;
#pragma unroll
  for (int r = 0; r < window.common(); ++r) {
#pragma unroll
    for (int s = 0; s < window.common(); ++s) {
      const int row = y / window.stride() - r, column = x / window.stride() - s;
      const int i = y - row * window.stride(), j = x - column * window.stride();
      if (i < window.kernel() && j < window.kernel() && row >= 0 && column >= 0 &&
          row < static_cast<int>(window.of.dst.h) && column < static_cast<int>(window.of.dst.w))
        visit(pixel_of(at.n, row, column, window.of.dst), i * window.kernel() + j);
    }
  }
}

template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads)
    max_pool(Window<kKernel, kStride> window, Pixels<const T> src, const float* sign, Pixels<T> dst,
             Pixels<uint8_t> argmax, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float direction[kLength];
  for (int i = 0; i < kLength; ++i) direction[i] = sign == nullptr ? 1.0f : sign[t.channel + i];
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float peak[kLength] = {};
    int first[kLength] = {};
    bool begun = false;
    each_tap(window, place_of(p, window.of.dst), [&](int64_t from, int tap) {
      float x[kLength];
      load<kLength>(x, src, from, t.channel);
      for (int i = 0; i < kLength; ++i) {
        const bool further = direction[i] > 0 ? x[i] > peak[i] : direction[i] < 0 && x[i] < peak[i];
        if (begun && !further) continue;
        peak[i] = x[i];
        first[i] = tap;
      }
      begun = true;
    });
    store<kLength>(dst, p, t.channel, peak);
    if (argmax.data == nullptr) continue;
    Vector<uint8_t, kLength> places;
    for (int i = 0; i < kLength; ++i) places.at[i] = static_cast<uint8_t>(first[i]);
    *reinterpret_cast<Vector<uint8_t, kLength>*>(argmax.data + p * argmax.stride + t.channel) = places;
  }
}

/// The gradient of a max pool's source, gathered: begin(pixel, sum) gives what is there before, end(pixel, sum) takes
/// it with what the windows add. A thread has a pixel at a time.
template <int kLength, int kKernel, int kStride>
struct PoolGradient {
  template <typename T, typename Begin, typename End>
  static __device__ void gather(const Window<kKernel, kStride>& window, Pixels<const T> dst_grad,
                                Pixels<const uint8_t> argmax, unsigned pixel, int64_t channel, const Begin& begin,
                                const End& end) {
    float sum[kLength] = {};
    begin(pixel, sum);
    each_window(window, place_of(pixel, window.of.src), [&](int64_t from, int tap) {
      const auto places =
          *reinterpret_cast<const Vector<uint8_t, kLength>*>(argmax.data + from * argmax.stride + channel);
      float g[kLength];
      load<kLength>(g, dst_grad, from, channel);
      for (int i = 0; i < kLength; ++i)
        if (places.at[i] == tap) sum[i] += g[i];
    });
    end(pixel, sum);
  }
};

/// With 3×3 windows that lie two pixels apart a thread has a square of four pixels at a time (squares_of): the same
/// four windows reach them, which are read once, and all threads do the same.
template <int kLength>
struct PoolGradient<kLength, 3, 2> {
  template <typename T, typename Begin, typename End>
  static __device__ void gather(const Window<3, 2>& window, Pixels<const T> dst_grad, Pixels<const uint8_t> argmax,
                                unsigned square, int64_t channel, const Begin& begin, const End& end) {
    const Place at = place_of(square, squares_of(window));
    const int top = 2 * at.y - window.of.pad, left = 2 * at.x - window.of.pad;
    const auto pixel = [&](int q) { return pixel_of(at.n, top + q / 2, left + q % 2, window.of.src); };
    const auto inside = [&](int q) {
      const int y = top + q / 2, x = left + q % 2;
      return y >= 0 && x >= 0 && y < static_cast<int>(window.of.src.h) && x < static_cast<int>(window.of.src.w);
    };
    float sum[4][kLength] = {};
    for (int q = 0; q < 4; ++q)
      if (inside(q)) begin(pixel(q), sum[q]);
    // `taps`: the window's places of the four pixels; -1: it does not reach that one.
    const auto add = [&](int up, int back, const int(&taps)[4]) {
      const int row = at.y - up, column = at.x - back;
      if (row < 0 || column < 0 || row >= static_cast<int>(window.of.dst.h) ||
          column >= static_cast<int>(window.of.dst.w))
        return;
      const int64_t from = pixel_of(at.n, row, column, window.of.dst);
      const auto places =
          *reinterpret_cast<const Vector<uint8_t, kLength>*>(argmax.data + from * argmax.stride + channel);
      float g[kLength];
      load<kLength>(g, dst_grad, from, channel);
      for (int q = 0; q < 4; ++q)
        for (int i = 0; i < kLength; ++i)
          if (taps[q] >= 0 && places.at[i] == taps[q]) sum[q][i] += g[i];
    };
    add(0, 0, {0, 1, 3, 4});
    add(0, 1, {2, -1, 5, -1});
    add(1, 0, {6, 7, -1, -1});
    add(1, 1, {8, -1, -1, -1});
    for (int q = 0; q < 4; ++q)
      if (inside(q)) end(pixel(q), sum[q]);
  }
};

template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads)
    max_pool_gradient(Window<kKernel, kStride> window, Pixels<const T> dst_grad, Pixels<const uint8_t> argmax,
                      Pixels<const T> addend, Pixels<T> src_grad, unsigned units, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  const auto begin = [&](int64_t pixel, float(&sum)[kLength]) {
    if (addend.data != nullptr) load<kLength>(sum, addend, pixel, t.channel);
  };
  const auto end = [&](int64_t pixel, const float(&sum)[kLength]) { store<kLength>(src_grad, pixel, t.channel, sum); };
  for (unsigned unit = t.pixel; unit < units; unit += t.step)
    PoolGradient<kLength, kKernel, kStride>::gather(window, dst_grad, argmax, unit, t.channel, begin, end);
}

template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads) average_pool(Window<kKernel, kStride> window, Pixels<const T> src,
                                                             Pixels<T> dst, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  const auto area = static_cast<float>(window.kernel() * window.kernel());
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    each_tap(window, place_of(p, window.of.dst), [&](int64_t from, int) {
      float x[kLength];
      load<kLength>(x, src, from, t.channel);
      for (int i = 0; i < kLength; ++i) sum[i] += x[i];
    });
    for (int i = 0; i < kLength; ++i) sum[i] /= area;
    store<kLength>(dst, p, t.channel, sum);
  }
}

template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads)
    average_pool_gradient(Window<kKernel, kStride> window, Pixels<const T> dst_grad, Pixels<const T> addend,
                          Pixels<T> src_grad, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  const auto area = static_cast<float>(window.kernel() * window.kernel());
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    if (addend.data != nullptr) load<kLength>(sum, addend, p, t.channel);
    each_window(window, place_of(p, window.of.src), [&](int64_t of, int) {
      float g[kLength];
      load<kLength>(g, dst_grad, of, t.channel);
      for (int i = 0; i < kLength; ++i) sum[i] += g[i] / area;
    });
    store<kLength>(src_grad, p, t.channel, sum);
  }
}

/// A block has an image and some channels; its rows of threads share the image's pixels.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    global_pool(Pixels<const T> src, Pixels<float> dst, unsigned area, unsigned channels) {
  __shared__ wide<T> scratch[kTileThreads * kLength];
  const Tile t = tile<kLength>(channels);
  const int64_t n = blockIdx.x;
  wide<T> sum[kLength] = {};
  if (t.inside)
    for (unsigned p = threadIdx.y; p < area; p += blockDim.y) {
      float x[kLength];
      load<kLength>(x, src, n * area + p, t.channel);
      for (int i = 0; i < kLength; ++i) sum[i] += x[i];
    }
  sum_rows<kLength>(scratch, sum, channels,
                    [=](unsigned c, double all) { dst.data[n * dst.stride + c] = static_cast<float>(all / area); });
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    global_pool_gradient(Pixels<const float> dst_grad, Pixels<const T> addend, Pixels<T> src_grad, unsigned area,
                         unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    if (addend.data != nullptr) load<kLength>(sum, addend, p, t.channel);
    for (int i = 0; i < kLength; ++i)
      sum[i] += dst_grad.data[p / area * dst_grad.stride + t.channel + i] / static_cast<float>(area);
    store<kLength>(src_grad, p, t.channel, sum);
  }
}

}  // namespace packhorse::cuda

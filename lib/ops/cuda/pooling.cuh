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
template <typename Visit>
__device__ inline void each_tap(const PoolWindow& window, const Place& at, const Visit& visit) {
  for (int i = 0; i < window.kernel; ++i) {
    const int y = at.y * window.stride + i - window.pad;
    if (y < 0 || y >= static_cast<int>(window.src.h)) continue;
    for (int j = 0; j < window.kernel; ++j) {
      const int x = at.x * window.stride + j - window.pad;
      if (x < 0 || x >= static_cast<int>(window.src.w)) continue;
      visit(pixel_of(at.n, y, x, window.src), i * window.kernel + j);
    }
  }
}

/// visit(pixel of the result, place in its window) for each window that has this pixel of the source.
template <typename Visit>
__device__ inline void each_window(const PoolWindow& window, const Place& at, const Visit& visit) {
  for (int i = 0; i < window.kernel; ++i) {
    const int row = at.y + window.pad - i;
    if (row < 0 || row % window.stride != 0 || row / window.stride >= static_cast<int>(window.dst.h)) continue;
    for (int j = 0; j < window.kernel; ++j) {
      const int column = at.x + window.pad - j;
      if (column < 0 || column % window.stride != 0 || column / window.stride >= static_cast<int>(window.dst.w))
        continue;
      visit(pixel_of(at.n, row / window.stride, column / window.stride, window.dst), i * window.kernel + j);
    }
  }
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    max_pool(PoolWindow window, Pixels<const T> src, const float* sign, Pixels<T> dst, Pixels<uint8_t> argmax,
             unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float direction[kLength];
  for (int i = 0; i < kLength; ++i) direction[i] = sign == nullptr ? 1.0f : sign[t.channel + i];
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float peak[kLength] = {};
    int first[kLength] = {};
    bool begun = false;
    each_tap(window, place_of(p, window.dst), [&](int64_t from, int tap) {
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

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    max_pool_gradient(PoolWindow window, Pixels<const T> dst_grad, Pixels<const uint8_t> argmax, Pixels<const T> addend,
                      Pixels<T> src_grad, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    if (addend.data != nullptr) load<kLength>(sum, addend, p, t.channel);
    each_window(window, place_of(p, window.src), [&](int64_t of, int tap) {
      const auto places =
          *reinterpret_cast<const Vector<uint8_t, kLength>*>(argmax.data + of * argmax.stride + t.channel);
      float g[kLength];
      load<kLength>(g, dst_grad, of, t.channel);
      for (int i = 0; i < kLength; ++i)
        if (places.at[i] == tap) sum[i] += g[i];
    });
    store<kLength>(src_grad, p, t.channel, sum);
  }
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    average_pool(PoolWindow window, Pixels<const T> src, Pixels<T> dst, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  const auto area = static_cast<float>(window.kernel * window.kernel);
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    each_tap(window, place_of(p, window.dst), [&](int64_t from, int) {
      float x[kLength];
      load<kLength>(x, src, from, t.channel);
      for (int i = 0; i < kLength; ++i) sum[i] += x[i];
    });
    for (int i = 0; i < kLength; ++i) sum[i] /= area;
    store<kLength>(dst, p, t.channel, sum);
  }
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    average_pool_gradient(PoolWindow window, Pixels<const T> dst_grad, Pixels<const T> addend, Pixels<T> src_grad,
                          unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  const auto area = static_cast<float>(window.kernel * window.kernel);
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float sum[kLength] = {};
    if (addend.data != nullptr) load<kLength>(sum, addend, p, t.channel);
    each_window(window, place_of(p, window.src), [&](int64_t of, int) {
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

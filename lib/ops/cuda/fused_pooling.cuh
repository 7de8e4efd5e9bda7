// Pools over normalised values that nobody writes, and the backward passes that go with them.
#pragma once

#include "ops/cuda/normalised.cuh"
#include "ops/cuda/pooling.cuh"

namespace packhorse::cuda {

/// The greatest of relu(src * a + b).
template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads)
    apply_max_pool(Window<kKernel, kStride> window, Pixels<const T> src, const float* a, const float* b, bool relu,
                   Pixels<T> dst, Pixels<uint8_t> argmax, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float factor[kLength], offset[kLength];
  load_channels(factor, a, t.channel);
  load_channels(offset, b, t.channel);
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float peak[kLength] = {};
    int first[kLength] = {};
    bool begun = false;
    each_tap(window, place_of(p, window.of.dst), [&](int64_t from, int tap) {
      float x[kLength];
      load<kLength>(x, src, from, t.channel);
      for (int i = 0; i < kLength; ++i) {
        float value = normalised<T>(x[i], factor[i], offset[i]);
        if (relu) value = value < 0 ? 0.0f : value;
        if (begun && !(value > peak[i])) continue;
        peak[i] = value;
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

/// The mean of relu(src * a + b + residual) over an image. See global_pool.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    apply_global_pool(Pixels<const T> src, Pixels<const T> residual, const float* a, const float* b, bool relu,
                      Pixels<float> dst, unsigned area, unsigned channels) {
  __shared__ wide<T> scratch[kTileThreads * kLength];
  const Tile t = tile<kLength>(channels);
  const int64_t n = blockIdx.x;
  wide<T> sum[kLength] = {};
  if (t.inside) {
    float factor[kLength], offset[kLength];
    load_channels(factor, a, t.channel);
    load_channels(offset, b, t.channel);
    for (unsigned p = threadIdx.y; p < area; p += blockDim.y) {
      float x[kLength], more[kLength] = {};
      load<kLength>(x, src, n * area + p, t.channel);
      if (residual.data != nullptr) load<kLength>(more, residual, n * area + p, t.channel);
      for (int i = 0; i < kLength; ++i) {
        float value = normalised<T>(x[i], factor[i], offset[i]) + more[i];
        if (relu) value = value < 0 ? 0.0f : value;
        sum[i] += as_float(rounded<T>(value));
      }
    }
  }
  sum_rows<kLength>(scratch, sum, channels,
                    [=](unsigned c, double all) { dst.data[n * dst.stride + c] = static_cast<float>(all / area); });
}

template <typename T>
struct PooledMaskArrays {
  Pixels<const float> dst_grad;  ///< (N, C)
  Pixels<const T> src, residual;
  const float *a, *b;
  Pixels<T> masked_grad;
};
/// partial (chunks, 2, channels), as in apply_gradient.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    global_pool_gradient_mask(PooledMaskArrays<T> of, unsigned area, unsigned pixels, unsigned channels,
                              double* partial) {
  __shared__ wide<T> scratch[kTileThreads * kLength];
  const Tile t = tile<kLength>(channels);
  wide<T> a_grad[kLength] = {}, b_grad[kLength] = {};
  if (t.inside) {
    float factor[kLength], offset[kLength];
    load_channels(factor, of.a, t.channel);
    load_channels(offset, of.b, t.channel);
    for (unsigned p = t.pixel; p < pixels; p += t.step) {
      float x[kLength], more[kLength] = {}, g[kLength];
      load<kLength>(x, of.src, p, t.channel);
      if (of.residual.data != nullptr) load<kLength>(more, of.residual, p, t.channel);
      for (int i = 0; i < kLength; ++i) {
        const float whole = of.dst_grad.data[p / area * of.dst_grad.stride + t.channel + i];
        g[i] = as_float(rounded<T>(whole / static_cast<float>(area)));
        if (!(normalised<T>(x[i], factor[i], offset[i]) + more[i] > 0)) g[i] = 0;
        a_grad[i] += static_cast<wide<T>>(g[i]) * x[i];
        b_grad[i] += g[i];
      }
      store<kLength>(of.masked_grad, p, t.channel, g);
    }
  }
  double* const mine = partial + static_cast<int64_t>(blockIdx.x) * 2 * channels;
  sum_rows<kLength>(scratch, a_grad, channels, [=](unsigned c, double all) { mine[c] = all; });
  sum_rows<kLength>(scratch, b_grad, channels, [=](unsigned c, double all) { mine[channels + c] = all; });
}

/// The gradient goes back through the pool and through the statistics at once: only the pooled one was ever written.
template <typename T, int kLength, int kKernel, int kStride>
__global__ void __launch_bounds__(kTileThreads)
    max_pool_statistics_gradient(Window<kKernel, kStride> window, Pixels<const T> dst_grad,
                                 Pixels<const uint8_t> argmax, StatisticsGradientArrays<T> of, unsigned units,
                                 unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float mean[kLength], k[kLength], l[kLength], a[kLength];
  load_channels(mean, of.mean, t.channel);
  load_channels(k, of.k, t.channel);
  load_channels(l, of.l, t.channel);
  load_channels(a, of.a, t.channel);
  const auto begin = [](int64_t, float(&)[kLength]) {};
  const auto end = [&](int64_t pixel, const float(&pooled)[kLength]) {
    float x[kLength], before[kLength] = {};
    load<kLength>(x, of.src, pixel, t.channel);
    if (of.addend.data != nullptr) load<kLength>(before, of.addend, pixel, t.channel);
    for (int i = 0; i < kLength; ++i) x[i] = before[i] + fmaf(a[i], pooled[i], fmaf(k[i], x[i] - mean[i], l[i]));
    store<kLength>(of.src_grad, pixel, t.channel, x);
  };
  for (unsigned unit = t.pixel; unit < units; unit += t.step)
    PoolGradient<kLength, kKernel, kStride>::gather(window, dst_grad, argmax, unit, t.channel, begin, end);
}

}  // namespace packhorse::cuda

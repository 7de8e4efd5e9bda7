// Batch norm: sums over pixels in two steps (each block its pixels, then the blocks' sums), and passes over pixels.
#pragma once

#include "ops/cuda/normalised.cuh"
#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

constexpr int kFinishChannels = 32, kFinishRows = 8;  // threads of a block that adds the sums of blocks

/// The sum over chunks of partial[chunk * stride + column], for the threads of row 0. All threads must come.
__device__ inline double sum_chunks(double (&scratch)[kFinishRows][kFinishChannels], const double* partial,
                                    unsigned chunks, int64_t stride, int64_t column, bool inside) {
  double sum = 0;
  if (inside)
    for (unsigned chunk = threadIdx.y; chunk < chunks; chunk += kFinishRows) sum += partial[chunk * stride + column];
  scratch[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  sum = 0;
  for (int row = 0; row < kFinishRows; ++row) sum += scratch[row][threadIdx.x];
  __syncthreads();
  return sum;
}

/// partial (chunks, 2, channels): sums of x and x², with x taken from the channel's first pixel on: so the variance of
/// values far from 0 does not cancel.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    statistics_sums(Pixels<const T> src, unsigned pixels, unsigned channels, double* partial) {
  __shared__ wide<T> scratch[kTileThreads * kLength];
  const Tile t = tile<kLength>(channels);
  wide<T> sum[kLength] = {}, squares[kLength] = {};
  if (t.inside) {
    float origin[kLength];
    load<kLength>(origin, src, 0, t.channel);
#pragma unroll 4
    for (unsigned p = t.pixel; p < pixels; p += t.step) {
      float x[kLength];
      load<kLength>(x, src, p, t.channel);
      for (int i = 0; i < kLength; ++i) {
        const wide<T> from = static_cast<wide<T>>(x[i]) - origin[i];
        sum[i] += from;
        squares[i] += from * from;
      }
    }
  }
  double* const mine = partial + static_cast<int64_t>(blockIdx.x) * 2 * channels;
  sum_rows<kLength>(scratch, sum, channels, [=](unsigned c, double all) { mine[c] = all; });
  sum_rows<kLength>(scratch, squares, channels, [=](unsigned c, double all) { mine[channels + c] = all; });
}

template <typename T>
__global__ void __launch_bounds__(kFinishChannels* kFinishRows)
    statistics_finish(Pixels<const T> src, const double* partial, unsigned chunks, unsigned channels, double count,
                      float* mean, float* variance) {
  __shared__ double scratch[kFinishRows][kFinishChannels];
  const unsigned c = blockIdx.x * kFinishChannels + threadIdx.x;
  const double sum = sum_chunks(scratch, partial, chunks, 2 * static_cast<int64_t>(channels), c, c < channels);
  const double squares =
      sum_chunks(scratch, partial + channels, chunks, 2 * static_cast<int64_t>(channels), c, c < channels);
  if (threadIdx.y > 0 || c >= channels) return;
  const double from = sum / count, both = squares / count - from * from;
  mean[c] = static_cast<float>(as_float(src.data[c]) + from);
  variance[c] = static_cast<float>(both > 0 ? both : 0);
}

struct FinishArrays {
  const float *mean, *variance, *scale, *shift;
  float *a, *b;
};
__global__ void finish(FinishArrays of, unsigned channels, double epsilon) {
  const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const double factor = of.scale[c] / sqrt(of.variance[c] + epsilon);
  of.a[c] = static_cast<float>(factor);
  of.b[c] = static_cast<float>(of.shift[c] - of.mean[c] * factor);
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    apply(Pixels<const T> src, Pixels<const T> residual, const float* a, const float* b, Pixels<T> dst, unsigned pixels,
          unsigned channels, bool relu) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float factor[kLength], offset[kLength];
  load_channels(factor, a, t.channel);
  load_channels(offset, b, t.channel);
#pragma unroll 4
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float x[kLength], more[kLength] = {};
    load<kLength>(x, src, p, t.channel);
    if (residual.data != nullptr) load<kLength>(more, residual, p, t.channel);
    for (int i = 0; i < kLength; ++i) {
      x[i] = normalised<T>(x[i], factor[i], offset[i]) + more[i];
      if (relu) x[i] = x[i] < 0 ? 0.0f : x[i];  // NaN stays
    }
    store<kLength>(dst, p, t.channel, x);
  }
}

template <typename T>
struct ApplyGradientArrays {
  Pixels<const T> dst_grad, src, residual, src_addend, residual_addend;
  const float *a, *b;
  Pixels<T> src_grad, masked_grad, residual_grad;
};

/// partial (chunks, 2, channels): the sums of g * src and of g.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    apply_gradient(ApplyGradientArrays<T> of, unsigned pixels, unsigned channels, bool relu, double* partial) {
  __shared__ wide<T> scratch[kTileThreads * kLength];
  const Tile t = tile<kLength>(channels);
  wide<T> a_grad[kLength] = {}, b_grad[kLength] = {};
  if (t.inside) {
    float factor[kLength], offset[kLength];
    load_channels(factor, of.a, t.channel);
    load_channels(offset, of.b, t.channel);
#pragma unroll 2
    for (unsigned p = t.pixel; p < pixels; p += t.step) {
      float g[kLength], x[kLength], more[kLength] = {}, result[kLength];
      load<kLength>(g, of.dst_grad, p, t.channel);
      load<kLength>(x, of.src, p, t.channel);
      if (of.residual.data != nullptr) load<kLength>(more, of.residual, p, t.channel);
      for (int i = 0; i < kLength; ++i) {
        if (relu && !(normalised<T>(x[i], factor[i], offset[i]) + more[i] > 0)) g[i] = 0;
        a_grad[i] += static_cast<wide<T>>(g[i]) * x[i];
        b_grad[i] += g[i];
      }
      if (of.masked_grad.data != nullptr) store<kLength>(of.masked_grad, p, t.channel, g);
      if (of.src_grad.data != nullptr) {
        float before[kLength] = {};
        if (of.src_addend.data != nullptr) load<kLength>(before, of.src_addend, p, t.channel);
        for (int i = 0; i < kLength; ++i) result[i] = fmaf(factor[i], g[i], before[i]);
        store<kLength>(of.src_grad, p, t.channel, result);
      }
      if (of.residual_grad.data != nullptr) {
        float before[kLength] = {};
        if (of.residual_addend.data != nullptr) load<kLength>(before, of.residual_addend, p, t.channel);
        for (int i = 0; i < kLength; ++i) result[i] = before[i] + g[i];
        store<kLength>(of.residual_grad, p, t.channel, result);
      }
    }
  }
  double* const mine = partial + static_cast<int64_t>(blockIdx.x) * 2 * channels;
  sum_rows<kLength>(scratch, a_grad, channels, [=](unsigned c, double all) { mine[c] = all; });
  sum_rows<kLength>(scratch, b_grad, channels, [=](unsigned c, double all) { mine[channels + c] = all; });
}

/// Two arrays of sums of the blocks become two arrays of sums.
__global__ void add_chunks(const double* partial, unsigned chunks, unsigned channels, double* first, double* second) {
  __shared__ double scratch[kFinishRows][kFinishChannels];
  const unsigned c = blockIdx.x * kFinishChannels + threadIdx.x;
  const int64_t stride = 2 * static_cast<int64_t>(channels);
  const double a = sum_chunks(scratch, partial, chunks, stride, c, c < channels);
  const double b = sum_chunks(scratch, partial + channels, chunks, stride, c, c < channels);
  if (threadIdx.y > 0 || c >= channels) return;
  first[c] = a;
  second[c] = b;
}

struct FinishGradientArrays {
  const double *a_grad, *b_grad;
  const float *mean, *variance, *scale;
  float *scale_grad, *shift_grad, *k, *l;  ///< k, l may be null
};
// With r = sqrt(variance + epsilon): da/dvariance = -scale / (2 r³), db = -mean * da, and db/dmean = -a.
__global__ void finish_gradient(FinishGradientArrays of, unsigned channels, double epsilon, double count) {
  const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const double inverse = 1 / sqrt(of.variance[c] + epsilon);
  const double centred = of.a_grad[c] - of.mean[c] * of.b_grad[c];
  of.shift_grad[c] = static_cast<float>(of.b_grad[c]);
  of.scale_grad[c] = static_cast<float>(centred * inverse);
  if (of.k != nullptr) of.k[c] = static_cast<float>(-of.scale[c] * inverse * inverse * inverse * centred / count);
  if (of.l != nullptr) of.l[c] = static_cast<float>(-of.scale[c] * inverse * of.b_grad[c] / count);
}

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    statistics_gradient(StatisticsGradientArrays<T> of, unsigned pixels, unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
  float mean[kLength], k[kLength], l[kLength], a[kLength] = {};
  load_channels(mean, of.mean, t.channel);
  load_channels(k, of.k, t.channel);
  load_channels(l, of.l, t.channel);
  if (of.masked_grad.data != nullptr) load_channels(a, of.a, t.channel);
#pragma unroll 4
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float x[kLength], g[kLength] = {}, before[kLength] = {};
    load<kLength>(x, of.src, p, t.channel);
    if (of.masked_grad.data != nullptr) load<kLength>(g, of.masked_grad, p, t.channel);
    if (of.addend.data != nullptr) load<kLength>(before, of.addend, p, t.channel);
    for (int i = 0; i < kLength; ++i) x[i] = before[i] + fmaf(a[i], g[i], fmaf(k[i], x[i] - mean[i], l[i]));
    store<kLength>(of.src_grad, p, t.channel, x);
  }
}

}  // namespace packhorse::cuda

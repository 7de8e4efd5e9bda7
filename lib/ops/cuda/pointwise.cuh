// What happens to each element by itself: sums, copies, types.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    add(Pixels<const T> a, Pixels<const T> b, Pixels<T> dst, unsigned pixels, unsigned channels, bool relu) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
#pragma unroll 4
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float x[kLength], y[kLength];
    load<kLength>(x, a, p, t.channel);
    load<kLength>(y, b, p, t.channel);
    for (int i = 0; i < kLength; ++i) {
      x[i] += y[i];
      if (relu) x[i] = x[i] < 0 ? 0.0f : x[i];  // NaN stays
    }
    store<kLength>(dst, p, t.channel, x);
  }
}

/// Where `value` is positive, or everywhere without it; added to `addend` if there is one. Copies are this, too.
template <typename T, int kLength>
__global__ void __launch_bounds__(kTileThreads)
    masked_copy(Pixels<const T> value, Pixels<const T> src, Pixels<const T> addend, Pixels<T> dst, unsigned pixels,
                unsigned channels) {
  const Tile t = tile<kLength>(channels);
  if (!t.inside) return;
#pragma unroll 4
  for (unsigned p = t.pixel; p < pixels; p += t.step) {
    float x[kLength], mask[kLength], before[kLength] = {};
    load<kLength>(x, src, p, t.channel);
    if (addend.data != nullptr) load<kLength>(before, addend, p, t.channel);
    if (value.data != nullptr) {
      load<kLength>(mask, value, p, t.channel);
      for (int i = 0; i < kLength; ++i) x[i] = mask[i] > 0 ? x[i] : 0.0f;
    }
    for (int i = 0; i < kLength; ++i) x[i] += before[i];
    store<kLength>(dst, p, t.channel, x);
  }
}

/// Dense rows of `padded` channels: those that `src` does not have become zeros.
template <typename T>
__global__ void pad_channels(Pixels<const T> src, T* dst, int64_t pixels, unsigned channels, unsigned padded) {
  const int64_t count = pixels * padded, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const auto c = static_cast<unsigned>(i % padded);
    dst[i] = c < channels ? src.data[i / padded * src.stride + c] : rounded<T>(0.0f);
  }
}

__global__ void add_bias(Pixels<const float> src, const float* bias, Pixels<float> dst, int64_t rows,
                         unsigned columns) {
  const int64_t count = rows * columns, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int64_t row = i / columns, column = i % columns;
    dst.data[row * dst.stride + column] = src.data[row * src.stride + column] + bias[column];
  }
}

__global__ void fill(float* dst, int64_t count, float value) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) dst[i] = value;
}

template <typename To, typename From>
__global__ void convert(const From* src, To* dst, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    dst[i] = rounded<To>(as_float(src[i]));
}

/// Weights (outputs, channels, taps) f32 as cuDNN takes them: `count` numbers (all outputs, taps, padded). What the
/// weights do not have becomes zeros.
template <typename T>
__global__ void weights_to_channels_last(const float* src, T* dst, int64_t count, unsigned outputs, unsigned channels,
                                         unsigned taps, unsigned padded) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const auto c = static_cast<unsigned>(i % padded);
    const int64_t place = i / padded;
    const int64_t tap = place % taps, output = place / taps;
    const bool inside = c < channels && output < outputs;
    dst[i] = rounded<T>(inside ? src[(output * channels + c) * taps + tap] : 0.0f);
  }
}

/// The way back, of a gradient: channels that are padding are left out.
template <typename T>
__global__ void gradient_from_channels_last(const T* src, float* dst, unsigned outputs, unsigned channels,
                                            unsigned taps, unsigned padded) {
  const int64_t count = static_cast<int64_t>(outputs) * channels * taps;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int64_t tap = i % taps, place = i / taps;
    const int64_t c = place % channels, output = place / channels;
    dst[i] = as_float(src[(output * taps + tap) * padded + c]);
  }
}

struct Channels3 {
  float mean[3], scale[3];
};
/// Pixels as they come, to channels last: channels behind the third are zeros, and so are images that are not there.
/// `vectors`: there are 4, which can be written at once.
template <typename T>
__global__ void normalise_input(const DeviceCall* call, Pixels<T> dst, int64_t pixels, int64_t pixels_of_image,
                                int channels, bool vectors, Channels3 by) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (p >= pixels) return;
  float values[4] = {};
  if (p < call->images * pixels_of_image)
    for (int c = 0; c < 3; ++c) values[c] = (static_cast<float>(call->pixels[p * 3 + c]) - by.mean[c]) * by.scale[c];
  if (vectors) return store<4>(dst, p, 0, values);
  for (int c = 0; c < channels; ++c) dst.data[p * dst.stride + c] = rounded<T>(c < 3 ? values[c] : 0.0f);
}

}  // namespace packhorse::cuda

// Words that the kernels share: vectors of 16 bytes, numbers of a type as f32, what comes with a call.
//
// Rules:
// - A thread computes in f32 (f64 where the values are f32) and rounds once, when it stores.
// - Sums over pixels are taken in an order that depends on the shape alone.
// - The same source is compiled by nvcc and, for the tests, by the host's compiler.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace packhorse::cuda {

/// What comes with a call, on the device: a graph that is replayed finds it there. See StepCall.
struct DeviceCall {
  const uint8_t* pixels;
  const int32_t* labels;
  int64_t images;
  double learning_rate;
  float gradient_scale;
  int64_t step;
  void* report;  ///< a StepReport in the host's page-locked memory
};

__device__ inline float as_float(float value) { return value; }
__device__ inline float as_float(__half value) { return __half2float(value); }
__device__ inline float as_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ inline T rounded(float value);
template <>
__device__ inline float rounded<float>(float value) {
  return value;
}
template <>
__device__ inline __half rounded<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ inline __nv_bfloat16 rounded<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// Numbers in which a thread sums: wider than the values.
template <typename T>
struct Wide {
  using type = float;
};
template <>
struct Wide<float> {
  using type = double;
};
template <typename T>
using wide = typename Wide<T>::type;

/// `kLength` neighbouring elements: one load, one store.
template <typename T, int kLength>
struct alignas(sizeof(T) * kLength) Vector {
  T at[kLength];
};

/// Elements in 16 bytes.
template <typename T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

/// Channels of a batch's pixels: pixel p begins at data + p * stride. Null data: not there.
template <typename T>
struct Pixels {
  T* data;
  int64_t stride;
};

template <int kLength, typename T>
__device__ inline void load(float (&to)[kLength], Pixels<const T> from, int64_t pixel, int64_t channel) {
  const auto vector = *reinterpret_cast<const Vector<T, kLength>*>(from.data + pixel * from.stride + channel);
  for (int i = 0; i < kLength; ++i) to[i] = as_float(vector.at[i]);
}

template <int kLength, typename T>
__device__ inline void store(Pixels<T> to, int64_t pixel, int64_t channel, const float (&from)[kLength]) {
  Vector<T, kLength> vector;
  for (int i = 0; i < kLength; ++i) vector.at[i] = rounded<T>(from[i]);
  *reinterpret_cast<Vector<T, kLength>*>(to.data + pixel * to.stride + channel) = vector;
}

template <int kLength>
__device__ inline void load_channels(float (&to)[kLength], const float* from, int64_t channel) {
  for (int i = 0; i < kLength; ++i) to[i] = from[channel + i];
}

struct Image {
  unsigned n, h, w;  ///< images, rows, columns
};
struct PoolWindow {
  Image src, dst;
  int kernel, stride, pad;
};
/// A window whose size and stride the compiler knows, so that its loops unroll and loads go ahead of each other; 0: as
/// the numbers say.
template <int kKernel, int kStride>
struct Window {
  PoolWindow of;
  __device__ int kernel() const { return kKernel > 0 ? kKernel : of.kernel; }
  __device__ int stride() const { return kStride > 0 ? kStride : of.stride; }
  /// Windows that have a row (or a column) of the source in common, at most.
  __device__ int common() const { return (kernel() + stride() - 1) / stride(); }
};
/// Squares of 2×2 pixels of the source, of which the first row and column is the first one of a window, if there is
/// one.
inline __host__ __device__ Image squares_of(const Window<3, 2>& window) {
  const auto pad = static_cast<unsigned>(window.of.pad);
  return {window.of.src.n, (window.of.src.h - 1 + pad) / 2 + 1, (window.of.src.w - 1 + pad) / 2 + 1};
}

// A kernel over pixels and channels runs in tiles: threadIdx.x is a group of kLength channels, threadIdx.y a pixel;
// blocks in x go on to the next pixels, blocks in y to the next groups of channels. See tiles.h.
struct Tile {
  int64_t channel;  ///< the first one of this thread
  unsigned pixel, step;
  bool inside;
};
template <int kLength>
__device__ inline Tile tile(unsigned channels) {
  const unsigned group = blockIdx.y * blockDim.x + threadIdx.x;
  return {static_cast<int64_t>(group) * kLength, blockIdx.x * blockDim.y + threadIdx.y, gridDim.x * blockDim.y,
          group * kLength < channels};
}

constexpr int kTileThreads = 256;

/// Sums `mine` over the block's rows of pixels: the first threads get the channels' sums by visit(channel, sum).
/// `scratch`: kTileThreads * kLength numbers of shared memory. All threads of the block must come.
template <int kLength, typename Sum, typename Visit>
__device__ inline void sum_rows(Sum* scratch, const Sum (&mine)[kLength], unsigned channels, const Visit& visit) {
  const unsigned width = blockDim.x * kLength, thread = threadIdx.y * blockDim.x + threadIdx.x;
  for (int i = 0; i < kLength; ++i) scratch[threadIdx.y * width + threadIdx.x * kLength + i] = mine[i];
  __syncthreads();
  for (unsigned column = thread; column < width; column += blockDim.x * blockDim.y) {
    double sum = 0;
    for (unsigned row = 0; row < blockDim.y; ++row) sum += static_cast<double>(scratch[row * width + column]);
    const unsigned channel = blockIdx.y * width + column;
    if (channel < channels) visit(channel, sum);
  }
  __syncthreads();
}

/// The sum of one number of each thread over a block of `kThreads`, for all its threads. `scratch`: kThreads numbers.
template <int kThreads, typename Number, typename Join>
__device__ inline Number joined(Number* scratch, Number mine, const Join& join) {
  scratch[threadIdx.x] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half)
      scratch[threadIdx.x] = join(scratch[threadIdx.x], scratch[threadIdx.x + half]);
    __syncthreads();
  }
  const Number result = scratch[0];
  __syncthreads();
  return result;
}

}  // namespace packhorse::cuda

// Kernels for the tests of the stand-in: right ones, written as the project writes its own, and ones with a fault that
// the stand-in must see. Compiled by nvcc into the plug-in (test_plugin.cu), and by g++ (test_kernels.cc).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace packhorse::test_kernels {

extern __shared__ unsigned char dynamic[];

__device__ inline float warp_sum(float x) {
  for (int by = 16; by > 0; by /= 2) x += __shfl_down_sync(0xffffffffu, x, by);
  return x;
}

/// In all threads. Its shared memory belongs to no kernel.
__device__ inline float block_sum(float x) {
  __shared__ float part[32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += part[i];
  __syncthreads();
  return sum;
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Sum of each column of a matrix (rows, columns): one block a column.
template <typename T>
__global__ void __launch_bounds__(256)
    column_sums(const T* __restrict__ src, float* __restrict__ dst, int rows, int columns) {
  float sum = 0;
  for (int r = threadIdx.x; r < rows; r += blockDim.x) {
    sum += to_float(src[static_cast<size_t>(r) * columns + blockIdx.x]);
  }
  sum = block_sum(sum);
  if (threadIdx.x == blockDim.x - 1) dst[blockIdx.x] = sum;
}

/// The same sums over all of the memory, by atomic additions; the last block to end divides them by `count`.
__global__ void mean(const float* src, int count, float* sum, unsigned* done, float* dst) {
  __shared__ bool last;
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const float part = block_sum(i < count ? src[i] : 0.0f);
  if (threadIdx.x == 0) {
    atomicAdd(sum, part);
    __threadfence();
    last = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) *dst = *sum / static_cast<float>(count);
}

template <typename T>
__global__ void fill(T* dst, int count, T value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) dst[i] = value;
}

__global__ void scale(float* x, int count, const float* __restrict__ factor) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) x[i] *= __ldg(factor);
}

__global__ void add(float* dst, const float* src, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) dst[i] += src[i];
}

/// For the test of first launches: nobody else launches it.
__global__ void launched_once(float* dst) { *dst = 1; }

/// Numbers of the threads as they are in a grid of three dimensions.
__global__ void numbers(unsigned* dst) {
  const unsigned in_block = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned at = block * blockDim.x * blockDim.y * blockDim.z + in_block;
  dst[at] = at;
}

/// Turns each block's part round, in shared memory whose size the launch says.
__global__ void turn_round(float* x) {
  auto* held = reinterpret_cast<float*>(dynamic);
  float* mine = x + static_cast<size_t>(blockIdx.x) * blockDim.x;
  held[threadIdx.x] = mine[threadIdx.x];
  __syncthreads();
  mine[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}

/// The same, with an array whose size the type says.
template <int kThreads>
__global__ void turn_round_static(float* x) {
  __shared__ float held[kThreads];
  float* mine = x + static_cast<size_t>(blockIdx.x) * kThreads;
  held[threadIdx.x] = mine[threadIdx.x];
  __syncthreads();
  mine[threadIdx.x] = held[kThreads - 1 - threadIdx.x];
}

struct Numbers {
  float* dst;
  float4 four;
  short one;
};
/// A structure by value, after something that does not fill its place.
__global__ void by_value(char first, Numbers numbers, double last) {
  numbers.dst[threadIdx.x] = first + numbers.four.x + numbers.four.w + numbers.one + static_cast<float>(last);
}

/// One warp. For each lane: the words' results, eight of them.
__global__ void warp_words(int* dst) {
  const unsigned all = 0xffffffffu;
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = dst + 8 * lane;
  mine[0] = __shfl_sync(all, lane, 5);
  mine[1] = __shfl_up_sync(all, lane, 3);
  mine[2] = __shfl_down_sync(all, lane, 3, 8);
  mine[3] = __shfl_xor_sync(all, lane, 7);
  mine[4] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  mine[5] = __any_sync(all, lane == 31) + 2 * __all_sync(all, lane < 31) + 4 * __all_sync(all, lane < 32);
  // Half a warp each.
  if (lane < 16) {
    mine[6] = __shfl_xor_sync(0x0000ffffu, lane, 1);
  } else {
    mine[6] = __shfl_xor_sync(0xffff0000u, lane, 2);
  }
  __syncwarp();
  const double wide = __shfl_xor_sync(all, lane + 0.5, 1);
  mine[7] = static_cast<int>(2 * wide);
}

// ---- With a fault ---------------------------------------------------------------------------------------------------

/// Half of the block waits where the other half does not come.
__global__ void barrier_in_a_branch(float* x) {
  if (threadIdx.x < blockDim.x / 2) __syncthreads();
  x[threadIdx.x] = 1;
}

/// Some return before the barrier.
__global__ void return_before_barrier(float* x, int count) {
  if (static_cast<int>(threadIdx.x) >= count) return;
  __syncthreads();
  x[threadIdx.x] = 1;
}

/// The upper lanes never come.
__global__ void full_mask_in_a_branch(float* x) {
  float value = 0;
  if (threadIdx.x < 16) value = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
  x[threadIdx.x] = value;
}

/// Reads a lane that the mask leaves out.
__global__ void lane_outside_of_mask(int* x) {
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 20);
}

/// turn_round without its barrier.
template <int kThreads>
__global__ void turn_round_at_once(float* x) {
  __shared__ float held[kThreads];
  held[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = held[kThreads - 1 - threadIdx.x];
}

/// Counts up what nobody has set.
template <int kThreads>
__global__ void count_from_nothing(float* dst) {
  __shared__ float sum[kThreads];
  sum[threadIdx.x] += 1;
  dst[blockIdx.x * blockDim.x + threadIdx.x] = sum[threadIdx.x];
}

__global__ void write_behind_dynamic(int count) { reinterpret_cast<int*>(dynamic)[count + threadIdx.x] = 1; }

__global__ void touch(float* x, long at) { x[at] += 1; }

__global__ void not_registered(float* x) { x[0] = 1; }

}  // namespace packhorse::test_kernels

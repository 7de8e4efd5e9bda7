// Kernels for the tests of the stand-in, as the project writes its own.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace packhorse::cuda {

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
__global__ void __launch_bounds__(256) column_sums(const T* __restrict__ src, float* __restrict__ dst, int rows,
                                                   int columns) {
  __shared__ float first;
  float sum = 0;
  for (int r = threadIdx.x; r < rows; r += blockDim.x) {
    sum += to_float(src[static_cast<size_t>(r) * columns + blockIdx.x]);
  }
  if (threadIdx.x == 0) first = 1;
  sum = block_sum(sum);
  if (threadIdx.x == blockDim.x - 1) dst[blockIdx.x] = sum * first;
}

template <typename T>
__global__ void fill(T* dst, int count, T value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) dst[i] = value;
}

__global__ void scale(float* x, int count, const float* factor);
__global__ void add(float* dst, const float* src, int count);

}  // namespace packhorse::cuda

// The few numbers of each channel that go into a fused convolution and come out of it.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

/// A prologue takes scale and shift in the type of the values.
template <typename T>
__global__ void round_pair(const float* a, const float* b, T* to_a, T* to_b, unsigned channels) {
  const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  to_a[c] = rounded<T>(a[c]);
  to_b[c] = rounded<T>(b[c]);
}

/// From an epilogue's sums to mean and variance.
__global__ void moments_of_sums(const float* values, const float* squares, float* mean, float* variance,
                                unsigned channels, double count) {
  const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const double average = values[c] / count, both = squares[c] / count - average * average;
  mean[c] = static_cast<float>(average);
  variance[c] = static_cast<float>(both > 0 ? both : 0);
}

__global__ void widen_pair(const float* a, const float* b, double* to_a, double* to_b, unsigned channels) {
  const unsigned c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  to_a[c] = a[c];
  to_b[c] = b[c];
}

}  // namespace packhorse::cuda

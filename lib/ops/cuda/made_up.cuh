// Made-up numbers for measurements, and a checksum of what comes of them.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

__device__ inline uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// From -1 to 1.
template <typename T>
__global__ void made_up(T* to, int64_t count, unsigned seed) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const uint64_t bits = mixed(static_cast<uint64_t>(i) + (static_cast<uint64_t>(seed) << 40)) >> 40;
    to[i] = rounded<T>(static_cast<float>(bits) * (2.0f / (1 << 24)) - 1.0f);
  }
}

constexpr int kChecksumThreads = 256;

/// A checksum of each block's share. It depends on where each word lies.
__global__ void __launch_bounds__(kChecksumThreads) checksum(const uint16_t* words, int64_t count, uint64_t* sums) {
  __shared__ uint64_t shares[kChecksumThreads];
  const int64_t step = static_cast<int64_t>(gridDim.x) * kChecksumThreads;
  uint64_t sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kChecksumThreads + threadIdx.x; i < count; i += step)
    sum += mixed(static_cast<uint64_t>(i) * 65536 + words[i]);
  sum = joined<kChecksumThreads>(shares, sum, [](uint64_t a, uint64_t b) { return a + b; });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

}  // namespace packhorse::cuda

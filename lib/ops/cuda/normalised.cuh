// What batch norm and the pools that are fused with it share.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

/// What apply gives before its residual: the backward pass must decide as it did.
template <typename T>
__device__ inline float normalised(float x, float a, float b) {
  return as_float(rounded<T>(fmaf(x, a, b)));
}

template <typename T>
struct StatisticsGradientArrays {
  Pixels<const T> src, masked_grad, addend;
  const float *mean, *k, *l, *a;
  Pixels<T> src_grad;
};

}  // namespace packhorse::cuda

// What a step changes when it is applied: parameters with the optimizer's states, running statistics, copies of
// weights.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

__device__ inline float next_statistic(float running, float batch, double momentum, double share) {
  return static_cast<float>(momentum * running + (1 - momentum) * share * batch);
}
__global__ void running_statistics(const float* batch, const float* running, float* next, const int32_t* finite,
                                   int64_t count, double momentum, double share) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count || *finite == 0) return;
  next[i] = next_statistic(running[i], batch[i], momentum, share);
}

struct SgdArrays {
  const float *weight, *gradient, *momentum;
  float *new_weight, *new_momentum;
  const int32_t* finite;
  const float* loss_scale;  ///< may be null
};
struct SgdNumbers {
  float rate, factor;  ///< factor: of the gradient
  float momentum, decay;
};
__device__ inline SgdNumbers sgd_numbers(const DeviceCall* call, const float* loss_scale, float momentum, float decay) {
  const float factor = loss_scale == nullptr ? 1.0f : 1 / loss_scale[0];  // powers of two: exact
  return {static_cast<float>(call->learning_rate), factor, momentum, decay};
}
/// kLength weights from `i` on; gives the new ones.
template <int kLength>
__device__ inline void sgd_step(const SgdArrays& of, const SgdNumbers& by, int64_t i, float (&weight)[kLength]) {
  float gradient[kLength], velocity[kLength];
  load<kLength>(weight, Pixels<const float>{of.weight, 0}, 0, i);
  load<kLength>(gradient, Pixels<const float>{of.gradient, 0}, 0, i);
  load<kLength>(velocity, Pixels<const float>{of.momentum, 0}, 0, i);
  for (int k = 0; k < kLength; ++k) {
    velocity[k] = by.momentum * velocity[k] + (gradient[k] * by.factor + by.decay * weight[k]);
    weight[k] -= by.rate * velocity[k];
  }
  store<kLength>(Pixels<float>{of.new_momentum, 0}, 0, i, velocity);
  store<kLength>(Pixels<float>{of.new_weight, 0}, 0, i, weight);
}

__global__ void sgd(const DeviceCall* call, SgdArrays of, int64_t count, float momentum, float decay) {
  if (*of.finite == 0) return;
  const SgdNumbers by = sgd_numbers(call, of.loss_scale, momentum, decay);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    float weight[1];
    sgd_step<1>(of, by, i, weight);
  }
}

/// A copy of weights in cuDNN's order, (outputs, taps, padded channels), and where in those weights a parameter begins.
struct LaidOutCopy {
  enum class Type { none, f16, bf16, f32 };
  void* to;
  unsigned first, channels, taps, padded;
  Type type;

  __device__ int64_t place(unsigned i) const {
    if (taps == 1 && channels == padded) return i;
    const unsigned tap = i % taps, matrix = i / taps;
    return (static_cast<int64_t>(matrix / channels) * taps + tap) * padded + matrix % channels;
  }
  __device__ void write(unsigned i, float value) const {
    if (type == Type::none) return;
    const int64_t at = place(first + i);
    if (type == Type::f16) static_cast<__half*>(to)[at] = rounded<__half>(value);
    if (type == Type::bf16) static_cast<__nv_bfloat16*>(to)[at] = rounded<__nv_bfloat16>(value);
    if (type == Type::f32) static_cast<float*>(to)[at] = value;
  }
};

/// What one launch updates: parameters, then running statistics. Each block takes a part of one of them.
struct ParameterSegment {
  SgdArrays arrays;
  LaidOutCopy copy;
  unsigned count;
  float momentum, decay;
  bool vectors;  ///< all begin at 16 bytes
};
struct StatisticSegment {
  const float *batch, *running;
  float* next;
  unsigned count;
  double momentum, share;
};
struct UpdatePart {
  unsigned segment, first;
};
constexpr int kUpdateThreads = 256;
constexpr unsigned kUpdatePart = 16 * kUpdateThreads;  // numbers of a block

template <int kLength>
__device__ inline void update_part(const ParameterSegment& of, const SgdNumbers& by, unsigned first) {
  const unsigned end = of.count - first < kUpdatePart ? of.count : first + kUpdatePart;
#pragma unroll 4
  for (unsigned i = first + threadIdx.x * kLength; i < end; i += kUpdateThreads * kLength) {
    float weight[kLength];
    if (i + kLength <= end) {
      sgd_step<kLength>(of.arrays, by, i, weight);
      for (int k = 0; k < kLength; ++k) of.copy.write(i + static_cast<unsigned>(k), weight[k]);
      continue;
    }
    for (unsigned k = i; k < end; ++k) {
      float one[1];
      sgd_step<1>(of.arrays, by, k, one);
      of.copy.write(k, one[0]);
    }
  }
}

__global__ void __launch_bounds__(kUpdateThreads)
    update(const DeviceCall* call, const UpdatePart* parts, const ParameterSegment* parameters,
           unsigned parameter_parts, const StatisticSegment* statistics, const int32_t* finite) {
  if (*finite == 0) return;
  const UpdatePart part = parts[blockIdx.x];
  if (blockIdx.x < parameter_parts) {
    const ParameterSegment& of = parameters[part.segment];
    const SgdNumbers by = sgd_numbers(call, of.arrays.loss_scale, of.momentum, of.decay);
    if (of.vectors)
      update_part<4>(of, by, part.first);
    else
      update_part<1>(of, by, part.first);
    return;
  }
  const StatisticSegment& of = statistics[part.segment];
  const unsigned end = of.count - part.first < kUpdatePart ? of.count : part.first + kUpdatePart;
  for (unsigned i = part.first + threadIdx.x; i < end; i += kUpdateThreads)
    of.next[i] = next_statistic(of.running[i], of.batch[i], of.momentum, of.share);
}

}  // namespace packhorse::cuda

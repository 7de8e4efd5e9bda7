// What follows the gradients, besides the updates: their length, whether all is finite, the report.
#pragma once

#include "ops/cuda/words.cuh"
#include "ops/step_report.h"

namespace packhorse::cuda {

constexpr int kNormThreads = 256;

/// A block's share of the squares.
__global__ void __launch_bounds__(kNormThreads) sum_squares(const float* gradient, int64_t count, double* partial) {
  __shared__ double sums[kNormThreads];
  const int64_t step = static_cast<int64_t>(gridDim.x) * kNormThreads;
  double sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kNormThreads + threadIdx.x; i < count; i += step)
    sum += static_cast<double>(gradient[i]) * gradient[i];
  sum = joined<kNormThreads>(sums, sum, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kNormThreads)
    finish_squares(const double* partial, int blocks, const float* loss_scale, double* squares) {
  __shared__ double sums[kNormThreads];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kNormThreads) sum += partial[i];
  sum = joined<kNormThreads>(sums, sum, [](double a, double b) { return a + b; });
  const double factor = loss_scale == nullptr ? 1 : loss_scale[0];
  if (threadIdx.x == 0) *squares = sum / (factor * factor);
}

/// The columns' sums of a matrix (rows, columns) f32.
__global__ void sum_columns(Pixels<const float> src, float* dst, int64_t rows, int64_t columns) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) sum += src.data[row * src.stride + column];
  dst[column] = static_cast<float>(sum);
}

__device__ inline bool is_finite(double value) { return value - value == 0; }

__global__ void find_finite(const float* words, const double* squares, int32_t* finite) {
  const bool loss = is_finite(static_cast<double>(words[0] / words[1]));
  *finite = loss && (squares == nullptr || is_finite(*squares)) ? 1 : 0;
}

/// See kLossScale.
__global__ void next_loss_scale(const float* old, float* next, const int32_t* finite, float interval, float greatest) {
  float factor = old[0], updates = old[1] + static_cast<float>(*finite);
  const bool halve = *finite == 0 && factor > 1, twice = updates >= interval && factor < greatest;
  if (interval > 0 && (halve || twice)) {
    factor = halve ? factor / 2 : factor * 2;
    updates = 0;
  }
  next[0] = factor;
  next[1] = updates;
}

/// To the host's page-locked memory. `loss_scale` may be null.
__global__ void write_report(const DeviceCall* call, const float* words, const double* squares, const int32_t* finite,
                             const float* loss_scale) {
  if (call->report == nullptr) return;
  StepReport& report = *static_cast<StepReport*>(call->report);
  report.applied = *finite != 0;
  if (loss_scale != nullptr) {
    report.loss_scale = loss_scale[0];
    report.updates_at_scale = static_cast<int64_t>(loss_scale[1]);
  }
  report.loss_sum = words[0];
  report.counted = static_cast<uint64_t>(words[1]);
  report.top1 = static_cast<uint64_t>(words[2]);
  report.top5 = static_cast<uint64_t>(words[3]);
  report.squares = *squares;
}

__global__ void set_call(DeviceCall* call, DeviceCall value) { *call = value; }

}  // namespace packhorse::cuda

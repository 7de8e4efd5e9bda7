// Copies that convolutions need around them, as functions of the host. All enqueue on the stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tensor/types.h"

namespace packhorse::cuda {

/// Channels that `from` does not have become zeros.
void pad_channels(const View& from, const View& to, cudaStream_t stream);
/// to = from + addend: the channels that `to` has. An addend without memory is nothing.
void add_channels(const View& from, const View& addend, const View& to, cudaStream_t stream);
/// The same with a number for each channel; f32.
void add_bias(const View& from, const float* bias, const View& to, cudaStream_t stream);

struct Weights {
  int64_t outputs = 0, channels = 0, taps = 0;
  int64_t padded = 0;  ///< channels in cuDNN's order
};
/// From (O, taps, padded) of `dtype` to (O, C, taps) f32.
void weight_gradient(Dtype dtype, const void* from, float* to, const Weights& weights, cudaStream_t stream);

}  // namespace packhorse::cuda

// Small passes that other nodes need around them, as functions of the host. All enqueue on the stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/cuda/tiles.h"
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

void fill_numbers(float* to, int64_t count, float value, cudaStream_t stream);

/// partial (chunks, 2, channels) f64, the sums of a reduction's blocks: their sums.
void add_chunks(const double* partial, unsigned chunks, unsigned channels, double* first, double* second,
                cudaStream_t stream);
/// Blocks of a reduction over pixels that write `partial`, for vectors of this length.
Tiles sums_tiles(const Shape& shape, int64_t length);

/// A prologue's scale and shift, in the type of the values.
void round_pair(Dtype dtype, const float* a, const float* b, void* to_a, void* to_b, int64_t channels,
                cudaStream_t stream);
void moments_of_sums(const float* values, const float* squares, float* mean, float* variance, int64_t channels,
                     double count, cudaStream_t stream);
void widen_pair(const float* a, const float* b, double* to_a, double* to_b, int64_t channels, cudaStream_t stream);

/// Numbers from -1 to 1, the same ones for a seed.
void fill_made_up(Dtype dtype, void* to, int64_t count, unsigned seed, cudaStream_t stream);
/// Checksums of parts of an even number of bytes. Returns how many: kMostChecksums at most.
inline constexpr unsigned kMostChecksums = 512;
unsigned checksums(const void* values, int64_t bytes, uint64_t* sums, cudaStream_t stream);

}  // namespace packhorse::cuda

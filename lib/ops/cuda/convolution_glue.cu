#include "ops/cuda/convolution_glue.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/passes.h"

namespace packhorse::cuda {

void round_pair(Dtype dtype, const float* a, const float* b, void* to_a, void* to_b, int64_t channels,
                cudaStream_t stream) {
  with_form(dtype, false, [&](auto form) {
    using T = typename decltype(form)::type;
    round_pair<T><<<blocks_for(channels), kThreads, 0, stream>>>(a, b, static_cast<T*>(to_a), static_cast<T*>(to_b),
                                                                 static_cast<unsigned>(channels));
  });
  launched("round_pair");
}

void moments_of_sums(const float* values, const float* squares, float* mean, float* variance, int64_t channels,
                     double count, cudaStream_t stream) {
  moments_of_sums<<<blocks_for(channels), kThreads, 0, stream>>>(values, squares, mean, variance,
                                                                 static_cast<unsigned>(channels), count);
  launched("moments_of_sums");
}

void widen_pair(const float* a, const float* b, double* to_a, double* to_b, int64_t channels, cudaStream_t stream) {
  widen_pair<<<blocks_for(channels), kThreads, 0, stream>>>(a, b, to_a, to_b, static_cast<unsigned>(channels));
  launched("widen_pair");
}

}  // namespace packhorse::cuda

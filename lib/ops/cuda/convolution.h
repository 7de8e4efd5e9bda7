// The convolutions of one backend: what cuDNN was asked for, and which of its plans was chosen.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ops/cuda/convolution_graph.h"
#include "ops/weight_copies.h"

namespace packhorse::cuda {

class Convolutions {
 public:
  /// Belongs to the current device.
  Convolutions();
  ~Convolutions();
  Convolutions(const Convolutions&) = delete;
  Convolutions& operator=(const Convolutions&) = delete;

  struct Chosen {
    ConvolutionPlans* plans = nullptr;
    size_t candidate = 0;
    uint64_t workspace() const { return static_cast<uint64_t>(plans->candidates()[candidate].workspace); }
  };
  /// Null if cuDNN has no plan.
  const Chosen* find(const ConvolutionSpec& spec);
  /// Throws an Error that gives cuDNN's reason if it has no plan.
  const Chosen& chosen(const ConvolutionSpec& spec);
  /// The library's handle, on this stream from now on.
  cudnnContext* handle(cudaStream_t stream);

 private:
  struct Known {
    ConvolutionPlans plans;
    Chosen choice;
    std::string refusal;
  };
  cudnnContext* handle_ = nullptr;
  std::map<ConvolutionSpec, Known> known_;
};

/// Channels as cuDNN takes them: a multiple of 8; up to 4 become 4, for the pixels of images.
int64_t padded_channels(int64_t channels);

/// The order of elements that cuDNN takes weights in: (O, K, K, C), in the type of the activations, padded.
inline constexpr const char* kChannelsLast = "channels_last";
std::optional<WeightCopy> weight_copy(Dtype dtype, const Program& program, const Node& node);

}  // namespace packhorse::cuda

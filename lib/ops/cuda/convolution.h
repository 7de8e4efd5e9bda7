// The convolutions of one backend: what cuDNN was asked for, and which of its plans was chosen.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "ops/backend.h"
#include "ops/cuda/convolution_graph.h"
#include "ops/weight_copies.h"

namespace packhorse::cuda {

class Context;

class Convolutions {
 public:
  Convolutions(Device& device, const BackendOptions& options);
  ~Convolutions();
  Convolutions(const Convolutions&) = delete;
  Convolutions& operator=(const Convolutions&) = delete;

  struct Chosen {
    ConvolutionPlans* plans = nullptr;
    size_t candidate = 0;
    double seconds = 0;  ///< measured; 0: not measured
    uint64_t workspace() const { return static_cast<uint64_t>(plans->candidates()[candidate].workspace); }
  };
  /// Null if cuDNN has no plan.
  const Chosen* find(const ConvolutionSpec& spec);
  /// Throws an Error that gives cuDNN's reason if it has no plan.
  const Chosen& chosen(const ConvolutionSpec& spec);
  /// The library's handle for this stream. Each has its own: a handle has memory that its kernels may use, and streams
  /// run at the same time. Makes it at the first call, so call it outside of a capture first.
  cudnnContext* handle(cudaStream_t stream);
  /// An engine for each convolution so far, none where cuDNN has no plan; and what decided() was asked.
  const Choices& choices() const { return taken_; }

  /// Seconds of the chosen plan, measured now if they are not known; infinite if there is none.
  double seconds(const ConvolutionSpec& spec);
  /// Bytes a second that our own passes read and write, measured at the first call.
  double bandwidth();
  /// What was chosen for this question before, or what `decide` says now; where nothing is measured `otherwise`.
  /// Becomes a choice in each case, so that a resume does not ask again.
  bool decided(const std::string& question, bool otherwise, const std::function<bool()>& decide);

 private:
  struct Known {
    ConvolutionPlans plans;
    Chosen choice;
    std::string refusal;
  };
  Known& known(const ConvolutionSpec& spec);
  static void take_first(Known& known);
  Stream& trials();
  void take_fastest(Known& known, const ConvolutionSpec& spec);
  std::string key(const ConvolutionSpec& spec) const;

  Device& device_;
  bool deterministic_, measure_;
  Choices given_, taken_;
  double bandwidth_ = 0;
  cudnnContext* handle_ = nullptr;  // to make plans
  std::map<cudaStream_t, cudnnContext*> handles_;
  std::map<ConvolutionSpec, Known> known_;
  std::unique_ptr<Stream> trials_;  // made when the first plan is measured
};

/// Channels as cuDNN takes them: a multiple of 8; up to 4 become 4, for the pixels of images.
int64_t padded_channels(int64_t channels);

/// The order of elements that cuDNN takes weights in: (O, K, K, C), in the type of the activations, padded.
inline constexpr const char* kChannelsLast = "channels_last";
/// See Backend::worth().
bool worth_fusing(const Context& context, const Program& program, const std::vector<Node>& fused,
                  const std::vector<Node>& plain);
/// Images get channels of zeros, so that convolutions read them as they are.
void pad_input(Program& program);
std::optional<WeightCopy> weight_copy(Dtype dtype, const Program& program, const Node& node);

}  // namespace packhorse::cuda

// Runs cuDNN's plans for a convolution on made-up numbers: which is the fastest, and which gives the same bits each
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ops/cuda/convolution_graph.h"

namespace packhorse {
class Device;
class Stream;
}  // namespace packhorse

namespace packhorse::cuda {

/// The name of the choice between plans (ops/choices.h); `deterministic`: only those that repeat.
std::string plan_choice_key(const Device& device, const ConvolutionSpec& spec, bool deterministic);

struct Trial {
  double seconds = 0;   ///< of one run among others of the same plan
  bool repeats = true;  ///< each run gave the same bits
};

class PlanTrials {
 public:
  /// Takes memory for the operands. `handle`: of that stream. Throws an Error if there is not enough memory.
  PlanTrials(Device& device, Stream& stream, cudnnContext* handle, const ConvolutionSpec& spec);
  ~PlanTrials();
  PlanTrials(const PlanTrials&) = delete;
  PlanTrials& operator=(const PlanTrials&) = delete;

  /// Of a plan that is built. `best`: seconds of another one; a run that takes far longer is not repeated. Throws an
  /// Error if the plan cannot be run, or if there is no memory for its workspace.
  Trial run(const ConvolutionPlans& plans, size_t candidate, std::optional<double> best);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes a second that a pass over memory reads and writes.
double measured_bandwidth(Device& device, Stream& stream);

}  // namespace packhorse::cuda

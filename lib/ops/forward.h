// From a network to a forward program: each layer becomes plain nodes.
//
// A concatenation is no node: its inputs are written directly into their channels of the result's value.
#pragma once

#include "net/graph.h"
#include "ops/program.h"

namespace packhorse {

/// Batch norm takes the batch's statistics in training and the running statistics in inference.
enum class Phase { training, inference };

/// States of a program (Backward adds "gradients", an optimizer its own): the graph's flat arrays.
inline constexpr const char* kRunning = "statistics";
inline constexpr const char* kBatchStatistics = "batch_statistics";

struct ForwardOptions {
  int64_t batch = 1;
  Dtype dtype = Dtype::f32;
  Phase phase = Phase::training;
  float mean[3] = {117, 117, 117};  ///< subtracted from each channel of the 8-bit image
  float scale[3] = {1, 1, 1};       ///< then multiplied by this
};

/// Values by name: "pixels" (input), "features" and "logits" (outputs, f32). Throws an Error for a graph that it cannot
/// run.
Program forward_program(const Graph& graph, const ForwardOptions& options);

/// The number of the value with this name; throws an Error if there is none.
int value_named(const Program& program, const std::string& name);

}  // namespace packhorse

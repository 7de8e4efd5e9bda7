// The programs of a network, before a backend rewrites them: a training step (on one screen, step.cc) and inference.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "net/graph.h"
#include "ops/forward.h"
#include "ops/program.h"
#include "ops/rewrites.h"

namespace packhorse {

/// Large enough that the latency of a message is small compared with its transfer; small enough that the first sum
/// starts early.
inline constexpr size_t kBucketBytes = size_t{4} << 20;

/// With loss scaling, the state that kLossScale moves.
inline constexpr const char* kLossScaleState = "loss_scale";

struct StepOptions {
  ForwardOptions forward;
  bool recompute = false;  ///< recomputes what `apply` nodes wrote in backward instead of keeping it
  float label_smoothing = 0;
  float statistics_momentum = 0.9f;  ///< running = momentum * running + (1 - momentum) * batch (biased variance)
  std::string optimizer = "sgd";
  float momentum = 0.9f, weight_decay = 1e-4f;
  bool loss_scaling = false;  ///< a step whose gradient is not finite is skipped; the loss has a factor (kLossScale)
  int loss_scale_interval = 0;
  int ranks = 1;
  size_t bucket_bytes = kBucketBytes;
  /// The classifier's gradients are a bucket of their own, whatever its size: they are known when backward has just
  /// begun, and of many classes they are most of all gradients.
  bool classifier_apart = false;
};

/// Forward, backward, sums over ranks, update, report.
Program training_step(const Graph& graph, const StepOptions& options, std::span<const Rewrite> algebraic);

/// Forward with the running statistics.
Program inference_program(const Graph& graph, ForwardOptions options, std::span<const Rewrite> algebraic);

/// The sums over ranks of all gradients, in buckets cut from the last element to the first; each is begun after the
/// last node that writes into it. The last `apart` gradients are a bucket of their own, if there are any.
void add_gradient_sums(Program& program, size_t bucket_bytes, int64_t apart = 0);

}  // namespace packhorse

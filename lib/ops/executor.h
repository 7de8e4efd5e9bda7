// A network on one device: its programs (a training step, inference), their states and one slab, all of it made before
// the first step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/allreduce.h"
#include "net/graph.h"
#include "ops/backend.h"
#include "ops/bound_program.h"
#include "ops/step.h"

namespace packhorse {

struct ExecutorOptions {
  std::string backend;  ///< one of backend_names(); empty: the first
  int64_t batch = 1;    ///< images per step on this rank
  Dtype dtype = Dtype::f32;
  bool training = true;        ///< false: inference only
  bool merge_siblings = true;  ///< the backend's algebraic rewrites; false in tests
  bool recompute = false;      ///< recomputes the outputs of batch norm in backward instead of keeping them
  int threads = 1;
  float mean[3] = {117, 117, 117};  ///< subtracted from each channel of the 8-bit image
  float scale[3] = {1, 1, 1};       ///< then multiplied by this
  float label_smoothing = 0;
  bool profile = false;              ///< measures the time of each node, see times()
  float statistics_momentum = 0.9f;  ///< running = momentum * running + (1 - momentum) * batch (biased variance)
  std::string optimizer = "sgd";
  float momentum = 0.9f, weight_decay = 1e-4f;
  int ranks = 1;
};

struct MemoryReport {
  uint64_t activations = 0;            ///< bytes of the slab that values need
  uint64_t activations_unplanned = 0;  ///< the same if every value had bytes of its own
  uint64_t workspace = 0;              ///< what nodes need in the slab for themselves, in addition
  uint64_t parameters = 0;             ///< weights, statistics, their gradients, copies in other types and layouts
  uint64_t optimizer = 0;              ///< the optimizer's arrays
};

/// A training step as the backend would run it, and its memory plan; nothing is allocated.
CompiledProgram plan_step(const Graph& graph, const ExecutorOptions& options);
/// Of a plan: without a slab.
MemoryReport memory_report(const CompiledProgram& step, const std::string& optimizer);

class Executor {
 public:
  /// `sums` may be null for one rank, and must outlive the executor. `also_infer`: the same network for images of other
  /// sizes. Throws an Error if the backend cannot run the network or the dtype, or if there is too little memory.
  Executor(const Graph& graph, const ExecutorOptions& options, Allreduce* sums = nullptr,
           const std::vector<Graph>& also_infer = {});
  ~Executor();

  const Graph& graph() const;
  MemoryReport memory() const;
  std::string backend() const;
  /// The programs as they run; a training step only if the executor was made for training.
  const Program& training_program() const;
  const Program& inference_program() const;

  /// A state by name: "weights" and "gradients" in the order of the graph's parameters, "statistics" and
  /// "batch_statistics" (of the last step: means and biased variances, summed over the ranks) in that of its
  /// statistics, the optimizer's arrays ("momentum"). Empty if there is none. After writing to the weights, call
  /// refresh().
  std::span<float> state(const std::string& name);
  std::span<float> parameters() { return state("weights"); }
  std::span<float> gradients() { return state("gradients"); }
  std::span<float> statistics() { return state("statistics"); }
  std::span<float> batch_statistics() { return state("batch_statistics"); }
  /// Makes the copies of the weights that the programs read.
  void refresh();

  /// One training step: forward, backward, sums over the ranks, update. The call's report need not be set. Throws a
  /// UsageError before it does anything if pixels or labels do not fit.
  StepReport step(StepCall call);

  /// Forward pass with the running statistics, for a whole batch or only its first images (the logits of the others
  /// mean nothing). Returns the logits (N, classes), f32, valid until the next call. `size`: 0 is the graph's own, 1
  /// the first of also_infer, and so on.
  std::span<const float> infer(std::span<const uint8_t> pixels, size_t size = 0);
  /// Pooled features (N, C) and logits (N, classes) of the last infer() or step(), f32.
  std::span<const float> features();
  std::span<const float> logits();
  /// One entry for each node of the training step, in order; all zeros without ExecutorOptions::profile.
  std::span<const NodeTime> times() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse

// Runs a network on one device: plans the memory and makes every operation once, before the first step.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/graph.h"
#include "ops/ops.h"
#include "tensor/types.h"

namespace packhorse {

struct ExecutorOptions {
  std::string backend;  ///< one of backend_names(); empty: the first
  int64_t batch = 1;    ///< images per step on this rank
  Dtype dtype = Dtype::f32;
  bool training = true;        ///< false: forward only, with the running statistics
  bool merge_siblings = true;  ///< run sibling 1×1 convolutions as one if the backend gains from it; false in tests
  bool recompute = false;      ///< recomputes the outputs of batch norm in backward instead of keeping them
  int threads = 1;
  float mean[3] = {117, 117, 117};  ///< subtracted from each channel of the 8-bit image
  float scale[3] = {1, 1, 1};       ///< then multiplied by this
  float label_smoothing = 0;
  bool profile = false;              ///< measures the time of each task, see times()
  float statistics_momentum = 0.9f;  ///< running = momentum * running + (1 - momentum) * batch (biased variance)
};

struct MemoryReport {
  uint64_t activations = 0;            ///< bytes of the planned arena, the features and the logits
  uint64_t activations_unplanned = 0;  ///< the same if every tensor had a buffer of its own
  uint64_t parameters = 0;             ///< parameters, statistics, their gradients, the backend's packed copies
  uint64_t workspace = 0;              ///< the backend's scratch memory
};

/// The time of one task.
struct TaskTime {
  std::string name;
  NodeKind kind = NodeKind::input;
  double forward = 0, backward = 0;  ///< seconds, summed over all steps so far
};

class Executor {
 public:
  /// Throws an Error if the backend cannot run the network or the dtype, or if there is too little memory.
  Executor(const Graph& graph, const ExecutorOptions& options);
  ~Executor();

  const Graph& graph() const;
  MemoryReport memory() const;
  std::string backend() const;

  /// Flat arrays of the graph's parameters and statistics, f32, aligned to 64 bytes. After writing to parameters(),
  /// call parameters_changed(): it updates the backend's own copies.
  std::span<float> parameters();
  std::span<float> gradients();
  std::span<float> statistics();
  /// The last step's batch means and biased variances, in the layout of statistics().
  std::span<float> batch_statistics();
  void parameters_changed();

  /// Forward and backward pass of one batch. `pixels` is (N, S, S, 3), 8-bit RGB; `labels` is (N), and an image with a
  /// label < 0 is not counted. gradients() becomes d(sum of losses)/dp * `gradient_scale`. `ready(first)` is called
  /// during backward whenever gradients()[first..] became final (first falls to 0); batch_statistics() is final before
  /// the first call. The running statistics do not change: see update_statistics().
  BatchResult step(std::span<const uint8_t> pixels, std::span<const int32_t> labels, float gradient_scale,
                   const std::function<void(size_t first)>& ready);

  /// running = momentum * running + (1 - momentum) * batch_statistics() * batch_scale. After a sum over the ranks,
  /// batch_scale is 1 / ranks.
  void update_statistics(float batch_scale);

  /// Forward pass with the running statistics, for a whole batch or only its first images (the logits of the others
  /// mean nothing). Returns the logits (N, classes), f32, valid until the next call.
  std::span<const float> infer(std::span<const uint8_t> pixels);
  /// Pooled features (N, C) and logits (N, classes) of the last infer() or step(), f32.
  std::span<const float> features();
  std::span<const float> logits();
  /// One entry per task, in order of computation; all zeros without ExecutorOptions::profile.
  std::span<const TaskTime> times() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse

// Runs a network on one device: memory planned before the first step, every primitive made once, then steps.
#pragma once

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
  std::string backend;  ///< a name in backends.h; empty: the first
  int64_t batch = 1;    ///< images a step on this rank
  Dtype dtype = Dtype::f32;
  bool training = true;  ///< false: forward only, with running statistics
  bool merge_siblings =
      true;                ///< sibling 1×1 convolutions run as one where the backend gains by it; false is for tests
  bool recompute = false;  ///< batch norm's outputs are computed again in backward instead of kept
  int threads = 1;
  float mean[3] = {117, 117, 117};  ///< subtracted from each channel of the 8-bit image
  float scale[3] = {1, 1, 1};       ///< then multiplied
  float label_smoothing = 0;
  bool profile = false;              ///< measure each task's time, see times()
  float statistics_momentum = 0.9f;  ///< running = momentum * running + (1 - momentum) * batch (biased variance)
};

struct MemoryReport {
  uint64_t activations = 0;            ///< bytes of the planned arena
  uint64_t activations_unplanned = 0;  ///< what one buffer a tensor would take
  uint64_t parameters = 0;             ///< masters, gradients, and the backend's packed copies
  uint64_t workspace = 0;              ///< the backend's scratch
};

/// Where a step's time goes.
struct TaskTime {
  std::string name;
  NodeKind kind = NodeKind::input;
  double forward = 0, backward = 0;  ///< seconds, summed over the steps so far
};

class Executor {
 public:
  /// Throws an Error before any step where the backend cannot honour the network, the type or the memory.
  Executor(const Graph& graph, const ExecutorOptions& options);
  ~Executor();

  const Graph& graph() const;
  MemoryReport memory() const;
  std::string backend() const;

  /// Flat arrays of the graph's parameters and statistics, f32, aligned to 64 bytes. After writing to parameters()
  /// call parameters_changed(), which refreshes the backend's own copies.
  std::span<float> parameters();
  std::span<float> gradients();
  std::span<float> statistics();
  /// The last step's batch means and biased variances, in the layout of statistics().
  std::span<float> batch_statistics();
  void parameters_changed();

  /// Forward and backward of one batch. `pixels` (N, S, S, 3) 8-bit RGB, `labels` (N), a label < 0 counts nothing.
  /// gradients() becomes d(sum of losses)/dp * `gradient_scale`; `ready(first)` is called during backward each time
  /// that gradients()[first..] have become final (first falls to 0); batch_statistics() is final before the first call.
  /// Running statistics are left alone: see update_statistics().
  BatchResult step(std::span<const uint8_t> pixels, std::span<const int32_t> labels, float gradient_scale,
                   const std::function<void(size_t first)>& ready);

  /// running = momentum * running + (1 - momentum) * batch_statistics() * batch_scale (1 / ranks after a sum over
  /// ranks).
  void update_statistics(float batch_scale);

  /// Forward with running statistics, of a whole batch or the first images of one (the others' logits mean nothing).
  /// Logits (N, classes), f32, valid until the next call.
  std::span<const float> infer(std::span<const uint8_t> pixels);
  /// Pooled features (N, C) and logits (N, classes) of the last infer() or step(), f32.
  std::span<const float> features();
  std::span<const float> logits();
  /// By task in order of computation; all zeros without ExecutorOptions::profile.
  std::span<const TaskTime> times() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse

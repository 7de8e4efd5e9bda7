// A network on one device: its programs (a training step, inference), their states and one slab, all of it made before
// the first step.
//
// A step is enqueued, and its report is collected later: a device that works beside the host computes one step while
// the next one is being enqueued. Whatever looks at states waits for all steps that were enqueued.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/allreduce.h"
#include "device/device.h"
#include "net/graph.h"
#include "ops/backend.h"
#include "ops/bound_program.h"
#include "ops/input_slots.h"
#include "ops/step.h"

namespace packhorse {

struct ExecutorOptions {
  std::string backend;  ///< one of backend_names(); empty: the first
  int64_t batch = 1;    ///< images per step on this rank
  Dtype dtype = Dtype::f32;
  int device = 0;              ///< which of several, where a backend has them: a rank's own
  bool training = true;        ///< false: inference only
  bool merge_siblings = true;  ///< the backend's algebraic rewrites; false in tests
  bool recompute = false;      ///< recomputes the outputs of batch norm in backward instead of keeping them
  int threads = 1;
  bool beside = false;  ///< on the host: the lanes are threads, the side lane too; false: the calling thread
  float mean[3] = {117, 117, 117};  ///< subtracted from each channel of the 8-bit image
  float scale[3] = {1, 1, 1};       ///< then multiplied by this
  float label_smoothing = 0;
  bool profile = false;              ///< measures the time of each node, see times()
  float statistics_momentum = 0.9f;  ///< running = momentum * running + (1 - momentum) * batch (biased variance)
  std::string optimizer = "sgd";
  float momentum = 0.9f, weight_decay = 1e-4f;
  float loss_scale = 0;         ///< factor of the loss in the first backward pass, a power of two; 0: no loss scaling
  int loss_scale_interval = 0;  ///< updates until it is doubled; 0: it stays
  int ranks = 1;
  bool deterministic = false;  ///< only ways to compute that give the same bits each time
  bool measure = false;        ///< takes the fastest of several ways, where `choices` has none
  Choices choices{};           ///< made before, see measured_choices()
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
/// The choices of a training step: those of the options, and what they do not have is measured. Takes seconds, and
/// needs the device's memory for one operation at a time. Give them to each rank's executor: so all compute the same
/// way.
Choices measured_choices(const Graph& graph, ExecutorOptions options);
/// Of a plan: without a slab.
MemoryReport memory_report(const CompiledProgram& step, const std::string& optimizer);

/// Numbers of the device as the host sees them: where host and device share memory the device's own, else a copy. Valid
/// until the next step.
class HostView {
 public:
  HostView() = default;
  explicit HostView(std::span<const float> numbers) : numbers_(numbers) {}
  explicit HostView(HostArray<float> copy) : copy_(std::move(copy)), numbers_(copy_.span()) {}
  std::span<const float> span() const { return numbers_; }
  const float* data() const { return numbers_.data(); }
  size_t size() const { return numbers_.size(); }
  const float& operator[](size_t i) const { return numbers_[i]; }
  auto begin() const { return numbers_.begin(); }
  auto end() const { return numbers_.end(); }

 private:
  HostArray<float> copy_;
  std::span<const float> numbers_;
};

/// Makes the sums over ranks in a device's memory; the result may be null: then a rank's sums are its own values.
using SumsOn = std::function<std::unique_ptr<Allreduce>(Device& device)>;

class Executor {
 public:
  /// `also_infer`: the same network for images of other sizes. Throws an Error if the backend cannot run the network or
  /// the dtype, or if there is too little memory.
  Executor(const Graph& graph, const ExecutorOptions& options, const SumsOn& sums = nullptr,
           const std::vector<Graph>& also_infer = {});
  ~Executor();

  const Graph& graph() const;
  MemoryReport memory() const;
  std::string backend() const;
  /// Those that the programs were compiled with.
  Choices choices() const;
  Dtype dtype() const;
  /// What the backend computes with on this machine, for the log.
  std::string backend_description() const;
  /// Where it runs. It outlives the executor.
  Device& device() const;
  /// The programs as they run; a training step only if the executor was made for training.
  const Program& training_program() const;
  const Program& inference_program() const;

  // A state by name: "weights" and "gradients" in the order of the graph's parameters, "statistics" and
  // "batch_statistics" (of the last step: means and biased variances, summed over the ranks) in that of its statistics,
  // the optimizer's arrays ("momentum"), with loss scaling "loss_scale" (LossScaleWord).

  /// Empty if there is no such state.
  HostView state(const std::string& name);
  /// Throws an Error unless there is a state of this size.
  void write(const std::string& name, std::span<const float> numbers);

  /// Enqueues a training step: forward, backward, sums over the ranks, update. Throws a UsageError before it does
  /// anything if pixels or labels do not fit, and an Error if kMostInFlight steps are not collected yet.
  void enqueue(const StepInput& input);
  /// Done when the memory of the last step's input is no longer needed.
  Event& input_taken();
  /// The report of the oldest step that was enqueued and not collected; waits for its end. Throws what it threw.
  StepReport collect();
  static constexpr size_t kMostInFlight = 2;
  size_t in_flight() const;
  /// True if steps are computed beside the thread that enqueues them: then it gains from enqueuing one ahead.
  bool works_beside() const;
  /// enqueue() and collect().
  StepReport step(const StepInput& input);

  /// Forward pass with the running statistics, for a whole batch or only its first images (the logits of the others
  /// mean nothing). Returns the logits (N, classes), f32, valid until the next call. `size`: 0 is the graph's own, 1
  /// the first of also_infer, and so on.
  std::span<const float> infer(std::span<const uint8_t> pixels, size_t size = 0);
  /// Pooled features (N, C) and logits (N, classes) of the last infer() or step, f32.
  HostView features();
  HostView logits();
  /// One entry for each node of the training step, in order; all zeros without ExecutorOptions::profile.
  std::vector<NodeTime> times();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Gives a network its initial weights and statistics.
void initialise(Executor& executor, uint64_t seed);

}  // namespace packhorse

// One step of training, on one screen (trainer.cc), in the order of the mathematics.
//
// Rule: all ranks hold the same weights, statistics and momentum, bit for bit, before and after every step, and leave
// every step with the same decision: go on, write a checkpoint, stop.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/gradient_buckets.h"
#include "feed/batch_ring.h"
#include "ops/executor.h"
#include "step/learning_rate.h"
#include "step/optimizer.h"

namespace packhorse {

/// What one rank requests for after a step; any rank's wish counts.
struct StepRequests {
  bool stop = false, checkpoint = false;
};

/// What a step gave, over all ranks.
struct StepReport {
  int64_t step = 0;  ///< steps finished, this one included
  double loss = 0;   ///< mean over the images
  double learning_rate = 0;
  double gradient_norm = 0;
  uint64_t counted = 0, top1 = 0, top5 = 0;
  double exposed_seconds = 0;  ///< of the sums over ranks, not hidden by backward; this rank's
  StepRequests requests;       ///< agreed on
};

struct TrainerOptions {
  LearningRateSchedule schedule;
  std::string optimizer = "sgd";
  OptimizerOptions optimizer_options;
  uint64_t global_batch = 1;
};

class Trainer {
 public:
  /// `executor` and `allreduce` must outlive it; the executor holds the weights to begin with.
  Trainer(Executor& executor, Allreduce& allreduce, const TrainerOptions& options);

  /// Throws an Error where loss or gradient are not finite: the state is then worthless, the last checkpoint is not.
  StepReport step(const Batch& batch, StepRequests own);

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  std::span<float> momentum() { return optimizer_->momentum(); }

 private:
  Executor& executor_;
  Allreduce& allreduce_;
  TrainerOptions options_;
  std::unique_ptr<Optimizer> optimizer_;
  GradientBuckets buckets_;
  int64_t steps_ = 0;
};

}  // namespace packhorse

// One training step, on one screen (trainer.cc), in the order of the mathematics.
//
// Rule: before and after every step, all ranks have the same weights, statistics and momentum, bit for bit. After every
// step they take the same decision: continue, write a checkpoint, or stop.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/allreduce.h"
#include "comm/gradient_buckets.h"
#include "feed/batch_ring.h"
#include "ops/executor.h"
#include "step/learning_rate.h"
#include "step/optimizer.h"

namespace packhorse {

/// What a rank requests for the end of a step; the request of one rank counts for all.
struct StepRequests {
  bool stop = false, checkpoint = false;
};

/// The result of a step, over all ranks.
struct StepReport {
  int64_t step = 0;  ///< steps finished, this one included
  double loss = 0;   ///< mean over the images
  double learning_rate = 0;
  double gradient_norm = 0;
  uint64_t counted = 0, top1 = 0, top5 = 0;
  double exposed_seconds = 0;  ///< time of the sums over ranks that backward did not hide, on this rank
  StepRequests requests;       ///< the requests of all ranks
};

struct TrainerOptions {
  LearningRateSchedule schedule;
  std::string optimizer = "sgd";
  OptimizerOptions optimizer_options;
  uint64_t global_batch = 1;
};

class Trainer {
 public:
  /// `executor` and `allreduce` must outlive it; the executor already has the initial weights.
  Trainer(Executor& executor, Allreduce& allreduce, const TrainerOptions& options);

  /// Throws an Error if the loss or the gradient is not finite: the state is then useless, the last checkpoint is not.
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

// Training steps, one after the other: what a step is, is the executor's program; the trainer gives it the learning
// rate and takes its report. A step may be enqueued before the report of the one before is there.
//
// Rule: before and after every step, all ranks have the same weights, statistics and momentum, bit for bit. After every
// step they take the same decision: continue, write a checkpoint, or stop.
#pragma once

#include <cstdint>

#include "comm/agreement.h"
#include "feed/batch_ring.h"
#include "ops/executor.h"
#include "step/learning_rate.h"

namespace packhorse {

/// A step's result with what follows from it.
struct TrainedStep {
  int64_t step = 0;  ///< steps finished, this one included
  double loss = 0;   ///< mean over the images
  double learning_rate = 0;
  double gradient_norm = 0;
  uint64_t counted = 0, top1 = 0, top5 = 0;
  bool applied = true;         ///< false, with loss scaling only: the update was skipped, nothing changed
  float loss_scale = 1;        ///< of the next step
  double exposed_seconds = 0;  ///< time of the sums over ranks that backward did not hide, on this rank
  StepRequests requests;       ///< the requests of all ranks
};

struct TrainerOptions {
  LearningRateSchedule schedule;
  uint64_t global_batch = 1;
  bool loss_scaling = false;  ///< the executor's: a step may then be skipped
};

class Trainer {
 public:
  /// Both must outlive it; the executor already has the initial weights.
  Trainer(Executor& executor, Agreement& agreement, const TrainerOptions& options)
      : executor_(executor), agreement_(agreement), options_(options) {}

  /// Enqueues a step. The batch must stay as it is until Executor::input_taken(). `own`: what this rank requests.
  void enqueue(const Batch& batch, StepRequests own);
  /// The result of the oldest step that was not collected; waits for it. Throws an Error if the loss or the gradient is
  /// not finite (with loss scaling: in more than kMostSkips steps in a row): the state is then useless, the last
  /// checkpoint is not.
  TrainedStep collect();
  /// Both.
  TrainedStep step(const Batch& batch, StepRequests own);

  /// Batches taken: the sample order and the learning rate follow it. Steps in flight are not counted.
  int64_t steps() const { return steps_; }
  int64_t in_flight() const { return static_cast<int64_t>(executor_.in_flight()); }
  /// Updates applied to the weights.
  int64_t updates() const { return updates_; }
  void resume(int64_t steps, int64_t updates) {
    steps_ = steps;
    updates_ = updates;
  }

 private:
  Executor& executor_;
  Agreement& agreement_;
  TrainerOptions options_;
  static constexpr int kMostSkips = 32;  // more often than the greatest loss scale can be halved
  int64_t steps_ = 0, updates_ = 0;
  int skips_in_a_row_ = 0;
};

}  // namespace packhorse

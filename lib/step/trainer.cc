#include "step/trainer.h"

#include <cmath>
#include <string>

#include "base/error.h"

namespace packhorse {
namespace {

void check_finite(double value, const char* what, int64_t step) {
  if (std::isfinite(value)) return;
  throw Error({std::string("the ") + what + " is no longer a finite number", "step " + std::to_string(step),
               "train from the beginning (--restart) with a lower --lr, a longer --warmup-epochs, or --precision f32"});
}

}  // namespace

// The mean over the global batch: each rank scales its share before the sum.
void Trainer::enqueue(const Batch& batch, StepRequests own) {
  const int64_t before = steps_ + in_flight();
  executor_.enqueue({.pixels = batch.pixels,
                     .labels = batch.labels,
                     .gradient_scale = 1.0f / static_cast<float>(options_.global_batch),
                     .learning_rate = options_.schedule.at(before),
                     .step = before});
  agreement_.start(own);
}

TrainedStep Trainer::collect() {
  const StepReport report = executor_.collect();
  TrainedStep result;
  result.step = steps_ + 1;
  result.learning_rate = options_.schedule.at(steps_);
  result.loss = static_cast<float>(report.loss_sum) / static_cast<float>(report.counted);
  result.gradient_norm = std::sqrt(report.squares);
  result.counted = report.counted;
  result.top1 = report.top1;
  result.top5 = report.top5;
  result.exposed_seconds = report.exposed_seconds;
  result.requests = agreement_.take();
  result.applied = report.applied;
  result.loss_scale = report.loss_scale;
  skips_in_a_row_ = report.applied ? 0 : skips_in_a_row_ + 1;
  const bool may_skip = options_.loss_scaling && skips_in_a_row_ <= kMostSkips;
  if (report.applied || !may_skip) {
    check_finite(result.loss, "loss", result.step);
    check_finite(result.gradient_norm, "gradient", result.step);
    ++updates_;
  }
  ++steps_;
  return result;
}

TrainedStep Trainer::step(const Batch& batch, StepRequests own) {
  enqueue(batch, own);
  return collect();
}

}  // namespace packhorse

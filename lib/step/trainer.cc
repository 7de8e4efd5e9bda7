#include "step/trainer.h"

#include <array>
#include <cmath>
#include <string>

#include "base/error.h"

namespace packhorse {
namespace {

/// What the ranks exchange in each step, as floats that are summed (counts are exact below 2^24).
enum Word { kLoss, kCounted, kTop1, kTop5, kStop, kCheckpoint, kWords };

void check_finite(double value, const char* what, int64_t step) {
  if (std::isfinite(value)) return;
  throw Error({std::string("the ") + what + " is no longer a finite number", "step " + std::to_string(step),
               "train from the beginning (--restart) with a lower --lr, a longer --warmup-epochs, or --precision f32"});
}

}  // namespace

Trainer::Trainer(Executor& executor, Allreduce& allreduce, const TrainerOptions& options)
    : executor_(executor),
      allreduce_(allreduce),
      options_(options),
      optimizer_(make_optimizer(options.optimizer, executor.graph(), options.optimizer_options)),
      buckets_(allreduce, executor.gradients()) {}

StepReport Trainer::step(const Batch& batch, StepRequests own) {
  StepReport report;
  report.step = steps_ + 1;
  report.learning_rate = options_.schedule.at(steps_);

  // The mean over the global batch: each rank scales its share before the sum. The sums start while backward runs.
  const float share = 1.0f / static_cast<float>(options_.global_batch);
  const BatchResult local =
      executor_.step(batch.pixels, batch.labels, share, [this](size_t first) { buckets_.ready(first); });

  std::array<float, kWords> words{};
  words[kLoss] = static_cast<float>(local.loss_sum);
  words[kCounted] = static_cast<float>(local.counted);
  words[kTop1] = static_cast<float>(local.top1);
  words[kTop5] = static_cast<float>(local.top5);
  words[kStop] = own.stop ? 1 : 0;
  words[kCheckpoint] = own.checkpoint ? 1 : 0;
  buckets_.also(executor_.batch_statistics());
  buckets_.also(words);
  buckets_.finish();
  report.exposed_seconds = buckets_.exposed_seconds();

  report.loss = words[kLoss] / words[kCounted];
  report.counted = static_cast<uint64_t>(words[kCounted]);
  report.top1 = static_cast<uint64_t>(words[kTop1]);
  report.top5 = static_cast<uint64_t>(words[kTop5]);
  report.requests = {words[kStop] > 0, words[kCheckpoint] > 0};
  check_finite(report.loss, "loss", report.step);

  const double squares = optimizer_->step(executor_.parameters(), executor_.gradients(), report.learning_rate);
  report.gradient_norm = std::sqrt(squares);
  check_finite(report.gradient_norm, "gradient", report.step);
  executor_.update_statistics(1.0f / static_cast<float>(allreduce_.ranks()));
  executor_.parameters_changed();
  ++steps_;
  return report;
}

}  // namespace packhorse

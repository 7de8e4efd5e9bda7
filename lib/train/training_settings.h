// All settings of a training run with their command-line names, and what follows from them: the number of steps, the
// feed, the executor, the learning rate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "feed/feed.h"
#include "feed/image_input.h"
#include "ops/executor.h"
#include "step/learning_rate.h"

namespace packhorse {

struct TrainingSettings {
  std::string network = "inception-bn";
  int image_size = 224;
  int64_t global_batch = 256, epochs = 60, limit_steps = 0;
  double lr = 0.1, warmup_epochs = -1, lr_factor = 0.1, momentum = 0.9, weight_decay = 1e-4, label_smoothing = 0;
  std::string optimizer = "sgd", schedule = "cosine", crop = "random-resized-crop", backend;
  std::vector<std::string> milestones, mean = {"117"}, scale = {"1"};
  uint64_t seed = 1, shuffle_block = 32, shuffle_window = 512;
  double min_area = 0.08, flip = 0.5, statistics_momentum = 0.9;
  int pad = 0, resize = 0;
  double loss_scale = 0;                        ///< a power of two that stays; 0: with f16 one that changes, else none
  std::optional<Dtype> precision = Dtype::f32;  ///< of activations; nothing: the one that the backend prefers
  bool recompute = false, deterministic = false;
  std::string plans = "measured";  ///< or "first"

  /// Declares each of them as a setting of the stage.
  void declare(Options& options);
  /// Throws a UsageError for values that do not fit together. Call it after the settings are read.
  void check() const;
  /// The precision as set, or the one that the backend prefers on this machine.
  Dtype preferred_precision() const;

  /// All that happens to a training image, in words: crop, flip, size, normalisation.
  std::string augmentation_text() const;
  /// How images become the network's input.
  ImageInput input() const;
  /// Warm-up in epochs: as set, or a tenth of all epochs, at most 5.
  double warmup() const;
  int64_t total_steps(int64_t steps_per_epoch) const { return epochs * steps_per_epoch; }
  /// The last step of this run: total_steps, or limit_steps if that is less.
  int64_t last_step(int64_t steps_per_epoch) const;

  LearningRateSchedule learning_rate(int64_t steps_per_epoch) const;
  FeedOptions feed(const BatchPlan& plan, int64_t classes, int threads, bool training) const;
  ExecutorOptions executor(const BatchPlan& plan, int threads) const;
};

/// Names of the settings that differ between two runs and change their results. Backend, recompute and limit-steps may
/// change between a run and its resumption.
std::vector<std::string> differing_settings(const Json& before, const Json& now);

}  // namespace packhorse

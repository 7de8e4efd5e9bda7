// Everything that shapes a training run, with its names on the command line, and what follows from it: the step count,
// the feed, the executor, the learning rate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "feed/feed.h"
#include "net/graph.h"
#include "ops/executor.h"
#include "train/learning_rate.h"
#include "train/trainer.h"

namespace packhorse {

struct TrainingSettings {
  std::string network = "inception-bn";
  int image_size = 224;
  int64_t global_batch = 256, epochs = 60, limit_steps = 0;
  double lr = 0.1, warmup_epochs = -1, lr_factor = 0.1, momentum = 0.9, weight_decay = 1e-4, label_smoothing = 0;
  std::string schedule = "cosine", precision = "f32", crop = "random-resized-crop", backend;
  std::vector<std::string> milestones, mean = {"117"}, scale = {"1"};
  uint64_t seed = 1, shuffle_block = 32, shuffle_window = 512;
  double min_area = 0.08, statistics_momentum = 0.9;
  int pad = 0, resize = 0;
  bool mirror = true, recompute = false;

  /// Makes each of them a setting of a stage.
  void declare(Options& options);
  /// Throws a UsageError for what cannot be. Call it once the settings are read.
  void check() const;
  /// Replaces a precision of "auto" by what this machine computes fastest: bf16 where it has instructions for it.
  void settle_precision();

  /// Short edge before a crop of fixed size: `resize`, or 8/7 of the crop (256 for 224); small pictures are taken
  /// whole.
  int short_edge() const;
  /// Epochs of warm-up: as set, or a tenth of all, at most 5.
  double warmup() const;
  int64_t total_steps(int64_t steps_per_epoch) const { return epochs * steps_per_epoch; }
  /// Where this run ends: total_steps, or earlier by limit_steps.
  int64_t last_step(int64_t steps_per_epoch) const;

  RateSchedule rate(int64_t steps_per_epoch) const;
  FeedOptions feed(const BatchPlan& plan, int64_t classes, int threads, bool training) const;
  ExecutorOptions executor(int64_t rank_batch, int threads) const;
};

/// Names of the settings in which two runs' results differ though all others agree; empty where there is none.
/// Backend, recompute and limit-steps may change between a run and its resumption.
std::vector<std::string> differing_settings(const Json& before, const Json& now);

/// "123.7,116.8,103.9", or one number for all three.
void parse_channels(const std::vector<std::string>& words, const std::string& name, float (&dst)[3]);

}  // namespace packhorse

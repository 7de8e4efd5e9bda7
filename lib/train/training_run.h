// A whole training run: from where the last one ended, over steps, validations and checkpoints, to the last step or a
// request to stop.
//
// Rule: state is weights, statistics, momentum and the step's number; everything else follows from the settings. So a
// run killed at any moment and started again ends in the same bits as one left alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "ranks/world.h"
#include "record/shard_reader.h"
#include "train/training_settings.h"

namespace packhorse {

/// A run: its settings, its data, and where it writes.
struct TrainingJob {
  TrainingSettings settings;
  Json recorded_settings;        ///< as the manifest states them; a checkpoint of others is refused
  std::filesystem::path folder;  ///< checkpoints/ and metrics.jsonl go here
  std::string classes_crc32c, data_crc32c;
  int64_t classes = 0;
  int threads = 0;               ///< that compute, a rank; 0: its share of the cores
  int workers = 0;               ///< that decode images, a rank; 0: its share of the cores
  int checkpoint_steps = 0;      ///< besides the one after each epoch; 0: none
  int checkpoint_seconds = 600;  ///< 0: none
  int checkpoints_kept = 2;
  int log_interval = 20;  ///< steps
  bool restart = false;   ///< removes what is there already

  /// The settings and the options of this one run.
  void declare(Options& options);
};

struct TrainingSummary {
  bool stopped = false;  ///< on request, before the last step
  int64_t step = 0;      ///< steps finished since the beginning
  int64_t epochs = 0;    ///< whole passes finished
  uint64_t images = 0;   ///< trained on by this process's job, all ranks
  double images_per_second = 0;
  double feed_wait_share = 0;        ///< of the time in steps
  std::optional<double> top1, top5;  ///< of the last validation
  double best_top1 = 0;
  std::filesystem::path last_checkpoint, best_checkpoint, journal;
};

/// Collective over `world`. `validation` may be null. Stops for SIGTERM, SIGUSR1 and SIGINT.
TrainingSummary run_training(World& world, const TrainingJob& job, const ShardReader& training,
                             const ShardReader* validation);

/// What a run will need, by arithmetic alone: steps, memory, time.
std::string plan_text(const TrainingJob& job, uint64_t training_records, uint64_t validation_records, int ranks);

}  // namespace packhorse

// A whole training run: resumes from the newest checkpoint, if any, then runs steps, validations and checkpoints until
// the last step or a stop request.
//
// Rule: the state is weights, statistics, momentum and the step number; everything else follows from the settings. So a
// run that is killed at any moment and started again ends with the same bits as an uninterrupted one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "manifest/plan.h"
#include "ranks/world.h"
#include "record/shard_reader.h"
#include "train/training_settings.h"

namespace packhorse {

/// A training run: its settings, its data, and where it writes.
struct TrainingJob {
  TrainingSettings settings;
  Json recorded_settings;        ///< as in the manifest; a checkpoint with other settings is refused
  std::filesystem::path folder;  ///< for checkpoints/ and metrics.jsonl
  std::string classes_crc32c, data_crc32c;
  int64_t classes = 0;
  int threads = 0;               ///< compute threads per rank; 0: its share of the cores
  int workers = 0;               ///< threads per rank that decode images; 0: its share of the cores
  int checkpoint_steps = 0;      ///< in addition to the one after each epoch; 0: none
  int checkpoint_seconds = 600;  ///< 0: none
  int checkpoints_kept = 2;
  int log_interval = 20;      ///< steps
  bool lane_threads = false;  ///< the lanes of a step are threads, and a step is enqueued ahead
  bool inexact = false;       ///< repeats a run in a way that may end with other bits
  bool restart = false;       ///< removes the checkpoints and the journal that exist in `folder`

  /// Declares the settings, and the options that apply to this run only.
  void declare(Options& options);
};

struct TrainingSummary {
  bool stopped = false;  ///< by a stop request, before the last step
  int64_t step = 0;      ///< steps finished since the beginning of the training
  int64_t epochs = 0;    ///< whole epochs finished
  uint64_t images = 0;   ///< trained on in these steps, over all ranks
  double images_per_second = 0;
  double feed_wait_share = 0;        ///< share of the time in steps that was spent waiting for the feed
  std::optional<double> top1, top5;  ///< of the last validation
  double best_top1 = 0;
  std::string backend;  ///< Executor::backend_description() of rank 0
  std::filesystem::path last_checkpoint, best_checkpoint, journal;
};

/// Throws an Error unless a training of this job may continue from the checkpoint: the same settings, classes, shards.
void check_continues(const CheckpointInfo& info, const std::filesystem::path& path, const TrainingJob& job);

/// Collective over `world`. `validation` may be null. Stops on SIGTERM, SIGUSR1 and SIGINT.
TrainingSummary run_training(World& world, const TrainingJob& job, const ShardReader& training,
                             const ShardReader* validation);

/// The steps, memory, disk and time that a run needs, by arithmetic only.
StagePlan planned(const TrainingJob& job, uint64_t training_records, uint64_t validation_records, int ranks);

}  // namespace packhorse

// Inference with a trained network: what evaluation and prediction share.
//
// Rule: images are prepared as in the validation of the run that wrote the checkpoint (size, short edge, mean, scale);
// only batch, threads, precision and backend may differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/options.h"
#include "checkpoint/checkpoint.h"
#include "classes/class_choice.h"
#include "feed/feed.h"
#include "feed/image_input.h"
#include "manifest/stage.h"
#include "ops/executor.h"

namespace packhorse {

/// The settings that evaluate and predict share.
struct InferenceSettings {
  std::string checkpoint = "best", subset, under, backend;
  Dtype precision = Dtype::f32;  ///< of activations

  void declare(Options& options);
};

/// The path of the checkpoint in the settings: "best" (the last one if the manifest has no best one), "last", or a
/// path.
std::filesystem::path find_checkpoint(Stage& stage, const InferenceSettings& settings, const StageManifest& train);

class Inference {
 public:
  /// Reads the checkpoint's attributes, plans memory for batches of `batch` images, and logs what the backend computes
  /// with. load() reads the weights.
  /// `device`: see ExecutorOptions.
  Inference(const std::filesystem::path& checkpoint, const InferenceSettings& settings, int64_t batch, int threads,
            int device = 0);
  void load();

  const CheckpointInfo& info() const { return info_; }
  const std::filesystem::path& checkpoint() const { return checkpoint_; }
  Executor& executor() { return *executor_; }
  std::string backend_description() const { return executor_->backend_description(); }
  /// Options of a feed that prepares images for this network.
  FeedOptions feed(const BatchPlan& plan, int64_t classes, int threads) const;
  /// Of the network, without what feeds it.
  uint64_t memory_bytes() const;
  int threads() const { return threads_; }
  /// "inception-bn on cpu, f32, after 300 steps: 11,295,240 parameters; memory per rank: ..."; the total includes
  /// `feed_bytes`.
  std::string memory_text(uint64_t feed_bytes) const;

 private:
  std::filesystem::path checkpoint_;
  CheckpointInfo info_;
  ImageInput input_;
  Dtype precision_;
  int threads_ = 1;
  std::unique_ptr<Executor> executor_;
};

}  // namespace packhorse

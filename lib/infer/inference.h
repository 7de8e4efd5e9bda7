// A trained network at work: what evaluation and prediction share.
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
  std::string checkpoint = "best", subset, under, precision = "f32", backend;

  void declare(Options& options);
};

/// The checkpoint that the settings name: "best" (the last one if none was validated), "last", or a path.
std::filesystem::path find_checkpoint(Stage& stage, const InferenceSettings& settings, const StageManifest& train);

class Inference {
 public:
  /// Reads the checkpoint's description and plans memory; load() reads the weights. `batch` images at a time.
  Inference(const std::filesystem::path& checkpoint, const InferenceSettings& settings, int64_t batch, int threads);
  void load();

  const CheckpointInfo& info() const { return info_; }
  const std::filesystem::path& checkpoint() const { return checkpoint_; }
  Executor& executor() { return *executor_; }
  /// A feed that prepares images as this network needs them.
  FeedOptions feed(const BatchPlan& plan, int64_t classes, int threads) const;
  /// "inception-bn on cpu, f32: 11,295,240 parameters; memory: ..." with `feed_bytes` added to the sum.
  std::string memory_text(uint64_t feed_bytes) const;

 private:
  std::filesystem::path checkpoint_;
  CheckpointInfo info_;
  ImageInput input_;
  std::string precision_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace packhorse

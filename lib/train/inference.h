// A trained network, ready to look at pictures: what evaluation and prediction share.
//
// Rule: pictures are prepared as in the validation of the run that made the checkpoint (size, short edge, mean, scale);
// only batch, threads, precision and backend may differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "manifest/stage_manifest.h"
#include "train/checkpoint.h"
#include "train/training_settings.h"

namespace packhorse {

struct InferenceOptions {
  int64_t batch = 1;
  std::string precision = "f32";  ///< "f32" or "bf16"
  std::string backend;            ///< empty: the fastest of this build
  int threads = 1;
};

class Inference {
 public:
  /// Reads the checkpoint's description and plans memory; load() brings the weights in.
  Inference(const std::filesystem::path& checkpoint, const InferenceOptions& options);
  void load();

  const CheckpointInfo& info() const { return info_; }
  Executor& executor() { return *executor_; }
  /// How this network's pictures are prepared.
  FeedOptions feed(const BatchPlan& plan, int64_t classes, int threads) const {
    return settings_.feed(plan, classes, threads, false);
  }
  /// "inception-bn on onednn, f32: 11,295,240 parameters; memory: ..." with `feed_bytes` added to the sum.
  std::string memory_text(uint64_t feed_bytes) const;

 private:
  std::filesystem::path checkpoint_;
  CheckpointInfo info_;
  TrainingSettings settings_;
  std::unique_ptr<Executor> executor_;
};

/// The checkpoint of a train stage's manifest that "best" (the last where none was validated) or "last" means.
std::filesystem::path named_checkpoint(const StageManifest& train, const std::string& word);

}  // namespace packhorse

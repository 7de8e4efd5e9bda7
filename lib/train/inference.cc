#include "train/inference.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// The training settings that a checkpoint states; what this version does not know does not shape its pictures.
TrainingSettings settings_from(const CheckpointInfo& info, const fs::path& checkpoint) {
  TrainingSettings settings;
  Options options("packhorse-train", "", "");
  settings.declare(options);
  const Json known = options.settings();
  Json stated = Json::object();
  for (const auto& [name, value] : info.settings.items()) {
    if (known.contains(name)) stated[name] = value;
  }
  options.apply(stated, checkpoint.string());
  settings.image_size = static_cast<int>(info.image_size);
  return settings;
}

}  // namespace

Inference::Inference(const fs::path& checkpoint, const InferenceOptions& options)
    : checkpoint_(checkpoint), info_(read_checkpoint_info(checkpoint)), settings_(settings_from(info_, checkpoint)) {
  settings_.precision = options.precision;
  settings_.backend = options.backend;
  ExecutorOptions executor = settings_.executor(options.batch, options.threads);
  executor.training = false;
  executor.recompute = false;
  executor_ = std::make_unique<Executor>(make_network(info_.network, info_.image_size, info_.classes), executor);
}

void Inference::load() {
  load_checkpoint(checkpoint_, executor_->graph(), executor_->parameters(), executor_->statistics(), {});
  executor_->parameters_changed();
}

std::string Inference::memory_text(uint64_t feed_bytes) const {
  const MemoryReport memory = executor_->memory();
  const uint64_t all = memory.activations + memory.parameters + memory.workspace + feed_bytes;
  const auto bytes = [](uint64_t count) { return bytes_text(static_cast<double>(count)); };
  return fmt::format(
      "{} on {}, {}, after {} steps: {} parameters; memory a rank: activations {}, parameters {}, workspace {}, feed "
      "{}: "
      "{} in all",
      info_.network, executor_->backend(), settings_.precision, grouped(static_cast<uint64_t>(info_.step)),
      grouped(executor_->graph().parameter_count), bytes(memory.activations), bytes(memory.parameters),
      bytes(memory.workspace), bytes(feed_bytes), bytes(all));
}

fs::path named_checkpoint(const StageManifest& train, const std::string& word) {
  const bool best = word == "best" && !train.outputs_of("checkpoint-best").empty();
  const FileEntry entry = train.output_of(best ? "checkpoint-best" : "checkpoint-last");
  check_file(entry, train.path, false);  // each of its arrays carries its own checksum
  return entry.path;
}

}  // namespace packhorse

#include "infer/inference.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "base/log.h"
#include "base/text.h"
#include "net/graph.h"

namespace packhorse {
namespace fs = std::filesystem;

void InferenceSettings::declare(Options& options) {
  options.setting("checkpoint", checkpoint, "Checkpoint to use: best, last, or a path.");
  options.setting(
      "subset", subset,
      "Choose among these classes only (evaluate: in addition to all classes): a class table, or a text file with a "
      "class id on each line.");
  options.setting("under", under,
                  "Choose among the classes under this WordNet id only (evaluate: in addition to all classes).");
  options.setting("precision", precision, {{"f32", Dtype::f32}, {"bf16", Dtype::bf16}, {"f16", Dtype::f16}},
                  "Number format of activations. Weights and sums are always f32.");
  options.setting("backend", backend,
                  "Compute backend: auto (the fastest that this machine has), cuda, cpu, reference.");
}

fs::path find_checkpoint(Stage& stage, const InferenceSettings& settings, const StageManifest& train) {
  if (settings.checkpoint != "best" && settings.checkpoint != "last") {
    return settle_path(stage, "checkpoint", settings.checkpoint);
  }
  const bool best = settings.checkpoint == "best" && !train.outputs_of("checkpoint-best").empty();
  const FileEntry entry = train.output_of(best ? "checkpoint-best" : "checkpoint-last");
  check_file(entry, train.path, false);  // each of its arrays has its own checksum
  return entry.path;
}

Inference::Inference(const fs::path& checkpoint, const InferenceSettings& settings, int64_t batch, int threads,
                     int device)
    : checkpoint_(checkpoint),
      info_(read_checkpoint_info(checkpoint)),
      input_(image_input_from(info_.settings, info_.image_size, checkpoint.string())),
      precision_(settings.precision) {
  report_resampling(info_.resampling, checkpoint.string());
  ExecutorOptions options;
  options.backend = settings.backend;
  options.batch = batch;
  options.dtype = precision_;
  options.training = false;
  options.threads = threads_ = threads;
  options.device = device;
  std::copy(std::begin(input_.mean), std::end(input_.mean), options.mean);
  std::copy(std::begin(input_.scale), std::end(input_.scale), options.scale);
  executor_ = std::make_unique<Executor>(make_network(info_.network, info_.image_size, info_.classes), options);
  log_info(executor_->backend_description());
}

void Inference::load() {
  const Graph& graph = executor_->graph();
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  load_checkpoint(checkpoint_, graph,
                  std::array<StateBuffer, 2>{{{"weights", weights}, {"statistics", statistics, true}}});
  executor_->write("weights", weights);
  executor_->write("statistics", statistics);
}

FeedOptions Inference::feed(const BatchPlan& plan, int64_t classes, int threads) const {
  FeedOptions options;
  options.plan = plan;
  options.augment.size = input_.size;
  options.augment.resize = input_.short_edge();
  options.training = false;
  options.classes = classes;
  options.threads = threads;
  return options;
}

uint64_t Inference::memory_bytes() const {
  const MemoryReport memory = executor_->memory();
  return memory.activations + memory.parameters + memory.workspace;
}

std::string Inference::memory_text(uint64_t feed_bytes) const {
  const MemoryReport memory = executor_->memory();
  const auto bytes = [](uint64_t count) { return bytes_text(static_cast<double>(count)); };
  return fmt::format(
      "{} on {}, {}, after {} steps: {} parameters; memory per rank: activations {}, parameters {}, workspace {}, feed "
      "{}, total {}",
      info_.network, executor_->backend(), name_of(precision_), grouped(static_cast<uint64_t>(info_.batches_taken)),
      grouped(executor_->graph().parameter_count), bytes(memory.activations), bytes(memory.parameters),
      bytes(memory.workspace), bytes(feed_bytes), bytes(memory_bytes() + feed_bytes));
}

}  // namespace packhorse

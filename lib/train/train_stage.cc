#include "train/train_stage.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "feed/packed_shards.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// The manifest of the finished run in the folder, if there is one and its last checkpoint exists.
std::optional<StageManifest> finished_run(const fs::path& folder) {
  if (!fs::exists(folder / "manifest.json")) return std::nullopt;
  StageManifest found = StageManifest::load(folder / "manifest.json");
  if (found.stage != "train") {
    throw UsageError({"the output folder holds the results of stage '" + found.stage + "'", folder.string(),
                      "choose another --out"});
  }
  if (!fs::exists(found.output_of("checkpoint-last").path)) return std::nullopt;
  return found;
}

/// Whether running again would give the same result.
bool same_run(const StageManifest& done, const StageManifest& now) {
  return differing_settings(done.settings, now.settings).empty() &&
         done.settings["limit-steps"] == now.settings["limit-steps"] && !done.inputs.empty() &&
         done.inputs[0].crc32c == now.inputs[0].crc32c;
}

std::string result_text(const StageManifest& manifest) {
  const Json& counts = manifest.counts;
  const std::string top1 =
      counts.contains("top1") ? fmt::format(", top-1 {:.2f} %", 100 * counts["top1"].get<double>()) : "";
  return fmt::format("trained {} epochs, {} steps, {} images{}, {:.0f} images/s, {}", counts["epochs"].get<int64_t>(),
                     grouped(counts["steps"].get<uint64_t>()), grouped(counts["images"].get<uint64_t>()), top1,
                     counts["images_per_second"].get<double>(), duration_text(manifest.seconds));
}

}  // namespace

Dtype agreed_precision(World& world, Dtype preferred) {
  std::array<uint64_t, 1> ranks_for_it = {0};
  for (const Dtype dtype : {Dtype::f16, Dtype::bf16}) {
    ranks_for_it = {preferred == dtype ? uint64_t{1} : uint64_t{0}};
    world.sum(ranks_for_it);
    if (ranks_for_it.front() == static_cast<uint64_t>(world.size())) return dtype;
  }
  return Dtype::f32;
}

ClassTable settle_training(Stage& stage, World& world, TrainingJob& job) {
  job.settings.check();
  job.settings.precision = agreed_precision(world, job.settings.preferred_precision());
  stage.manifest().settings["precision"] = name_of(*job.settings.precision);  // the format in use, not "auto"
  const StageManifest& pack = stage.input();
  ClassTable classes = load_class_table(pack);
  const CoreShare share = share_cores(world.local_size());
  job.recorded_settings = stage.manifest().settings;
  job.folder = stage.out();
  job.classes = static_cast<int64_t>(classes.size());
  job.classes_crc32c = pack.classes_crc32c;
  job.data_crc32c = data_crc32c(pack, "train");
  if (job.threads <= 0) job.threads = share.compute;
  if (job.workers <= 0) job.workers = share.feed;
  job.log_interval = std::max(1, job.log_interval);
  return classes;
}

std::optional<std::string> finished_result(Stage& stage, TrainingJob& job) {
  const auto done = finished_run(stage.out());
  if (!done || job.restart) return std::nullopt;
  // A repeat starts from the beginning. A repeat that was itself stopped continues: its last checkpoint does not exist.
  job.restart = stage.repeats();
  if (job.restart || !same_run(*done, stage.manifest())) return std::nullopt;
  log_info("this run is already finished: " + done->path.string() + " (to train again, use --restart)");
  return result_text(*done);
}

TrainingSummary train(World& world, const Stage& stage, const TrainingJob& job) {
  world.barrier();  // every rank has read the folder before rank 0 changes it
  if (world.is_root()) {
    make_folder(stage.out());
    if (!stage.repeats()) fs::remove(stage.out() / "manifest.json");
  }
  const StageManifest& pack = stage.input();
  const auto training_shards = shards_of(pack, "train");
  if (training_shards.empty()) throw Error({"there are no training shards", pack.path.string(), "run pack again"});
  const ShardReader training(training_shards);
  const auto validation_shards = shards_of(pack, "validation");
  const auto validation = validation_shards.empty() ? nullptr : std::make_unique<ShardReader>(validation_shards);
  return run_training(world, job, training, validation.get());
}

std::string finish_training(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks) {
  StageManifest& manifest = stage.manifest();
  manifest.counts = {{"steps", summary.step}, {"epochs", summary.epochs}, {"images", summary.images}};
  if (summary.top1) {
    manifest.counts["top1"] = *summary.top1;
    manifest.counts["top5"] = *summary.top5;
    manifest.counts["best_top1"] = summary.best_top1;
  }
  manifest.counts["images_per_second"] = summary.images_per_second;
  manifest.counts["feed_wait_share"] = summary.feed_wait_share;
  manifest.backend = summary.backend;
  classes.save(stage.out() / "classes.tsv");
  manifest.outputs = {describe_file("checkpoint-last", summary.last_checkpoint),
                      describe_file("checkpoint-best", summary.best_checkpoint),
                      describe_file("journal", summary.journal),
                      describe_file("class-table", stage.out() / "classes.tsv", classes.size())};
  stage.finish(ranks);
  return result_text(manifest);
}

}  // namespace packhorse

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
#include "checkpoint/checkpoint_folder.h"
#include "feed/packed_shards.h"
#include "image/resample.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr const char* kUnfinished = "unfinished";

/// The manifest of the finished run in the output folder, if there is one and its last checkpoint exists.
std::optional<StageManifest> finished_run(const Stage& stage) {
  std::optional<StageManifest> found = stage.finished();
  if (found && !fs::exists(found->output_of("checkpoint-last").path)) return std::nullopt;
  return found;
}

/// Whether running again would give the same result. Shards that were packed again with the same bytes are the same.
bool same_run(const StageManifest& done, const StageManifest& now) {
  return differing_settings(done.settings, now.settings).empty() &&
         done.settings["limit-steps"] == now.settings["limit-steps"] && !done.inputs.empty() &&
         done.inputs[0].results == now.inputs[0].results;
}

std::string result_text(const StageManifest& manifest) {
  const Json& counts = manifest.counts;
  const std::string precision = manifest.settings.value("precision", "");
  const std::string top1 = counts.contains("top1")
                               ? fmt::format(", top-1 {:.2f} % ({})", 100 * counts["top1"].get<double>(), precision)
                               : "";
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

namespace {

/// A repeated run has the ranks and threads that it had: sums over them are rounded in that order.
void check_repeat(const StageManifest& old, int ranks, TrainingJob& job) {
  if (job.threads <= 0) job.threads = old.threads;
  std::vector<std::string> differences;
  const auto compare = [&](int now, int then, const std::string& thing) {
    if (then > 0 && now > 0 && now != then)
      differences.push_back(counted(static_cast<uint64_t>(now), thing) + " instead of " +
                            grouped(static_cast<uint64_t>(then)));
  };
  compare(ranks, old.ranks, "rank");
  compare(job.threads, old.threads, "thread");
  if (differences.empty() || job.inexact) return;
  throw UsageError(
      {"this would not be the same run again: " + joined(differences), old.path.string(),
       "mpirun -np " + std::to_string(old.ranks) +
           " starts it as it was (job files do so); or give --inexact: sums are then rounded in another order, and the "
           "losses drift apart"});
}

}  // namespace

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
  if (stage.repeats()) check_repeat(stage.repeated(), world.size(), job);
  if (job.threads <= 0) job.threads = share.compute;
  if (job.workers <= 0) job.workers = share.feed;
  job.log_interval = std::max(1, job.log_interval);
  return classes;
}

namespace {

/// A finished run that running again would only repeat.
std::optional<StageManifest> nothing_to_do(const Stage& stage, const TrainingJob& job) {
  const auto done = finished_run(stage);
  const bool again = job.restart || stage.may_replace() || stage.repeats();
  return done && !again && same_run(*done, stage.manifest()) ? done : std::nullopt;
}

}  // namespace

PlannedReplacement planned_replacement(const Stage& stage, const TrainingJob& job) {
  if (nothing_to_do(stage, job))
    return {"finished", "this run is finished; nothing would be done (--restart repeats it)"};
  const auto done = finished_run(stage);
  const bool again = job.restart || stage.may_replace();
  const fs::path folder = done ? stage.out() / kUnfinished : stage.out();
  const CheckpointFolder checkpoints(folder / "checkpoints");
  if (!checkpoints.steps().empty() && !again) {
    const auto step = static_cast<uint64_t>(checkpoints.steps().back());
    return {"unfinished",
            "a run that stopped after step " + grouped(step) + "; this one continues it if its settings fit"};
  }
  if (!done)
    return {"none", checkpoints.steps().empty() ? "nothing is there yet" : "an unfinished run, which is removed"};
  if (stage.repeats())
    return {"same", "a finished run with the same settings, which is replaced when this one is finished"};
  if (again) return {"other", "a finished run, which is replaced when this one is finished"};
  const auto differing = differing_settings(done->settings, stage.manifest().settings);
  if (differing.empty()) return {"unfinished", "a finished run, from whose end this one continues"};
  return {"refused", "a finished run with other settings (" + joined(differing) +
                         "), which stays: give --name NAME, "
                         "--run NAME, another --out, or --replace"};
}

std::optional<std::string> finished_result(Stage& stage, const TrainingJob& job) {
  const auto done = nothing_to_do(stage, job);
  if (!done) return std::nullopt;
  log_info("this run is already finished: " + done->path.string() + " (to train again, use --restart)");
  return result_text(*done);
}

namespace {

/// What a finished run left becomes the beginning of this one, which goes further. The checkpoints are shared, as
/// nobody changes one in place; the journal grows.
void begin_where_it_ended(const StageManifest& done, const fs::path& folder) {
  const fs::path checkpoints = folder / "checkpoints";
  if (!CheckpointFolder(checkpoints).steps().empty()) return;
  make_folder(checkpoints);
  for (const char* role : {"checkpoint-last", "checkpoint-best"}) {
    const fs::path from = done.output_of(role).path, to = checkpoints / from.filename();
    std::error_code cannot;
    if (!fs::exists(to)) fs::create_hard_link(from, to, cannot);
    if (cannot) fs::copy_file(from, to);
  }
  fs::copy_file(done.output_of("journal").path, folder / "metrics.jsonl", fs::copy_options::overwrite_existing);
}

/// Takes the output folder. A finished run stays in it until this one is finished, too: until then this one works in
/// a folder of its own below. Whether there is one is asked once nobody else can finish one.
void prepare_folder(World& world, Stage& stage, TrainingJob& job) {
  const std::vector<ProcessId> ranks = world.processes();
  if (world.is_root()) {
    stage.own_for_any_settings(ranks);
    const auto done = finished_run(stage);
    stage.work_in(done ? kUnfinished : "");
    if (done && !stage.repeats() && !job.restart) begin_where_it_ended(*done, stage.work());
  }
  job.folder = world.broadcast(world.is_root() ? stage.work().string() : "");
}

}  // namespace

TrainingSummary train(World& world, Stage& stage, TrainingJob& job) {
  job.restart = job.restart || stage.may_replace();
  const StageManifest& pack = stage.input();
  const auto training_shards = shards_of(pack, "train");
  if (training_shards.empty()) throw Error({"there are no training shards", pack.path.string(), "run pack again"});
  const ShardReader training(training_shards);
  const auto validation_shards = shards_of(pack, "validation");
  const auto validation = validation_shards.empty() ? nullptr : std::make_unique<ShardReader>(validation_shards);
  if (const auto done = finished_run(stage); done && !job.restart) {
    const fs::path last = done->output_of("checkpoint-last").path;
    check_continues(read_checkpoint_info(last), last, job);
  }
  world.barrier();  // every rank has read the folder before rank 0 changes it
  prepare_folder(world, stage, job);
  return run_training(world, job, training, validation.get());
}

std::string finish_training(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks,
                            int threads) {
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
  manifest.threads = threads;
  manifest.resampling = kResampling;
  classes.save(stage.work() / "classes.tsv");
  manifest.outputs = {describe_file("checkpoint-last", summary.last_checkpoint),
                      describe_file("checkpoint-best", summary.best_checkpoint),
                      describe_file("journal", summary.journal),
                      describe_file("class-table", stage.work() / "classes.tsv", classes.size())};
  stage.finish(ranks);
  return result_text(manifest);
}

}  // namespace packhorse

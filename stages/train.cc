// packhorse-train: from shards to a trained network, with checkpoints from which a stopped run goes on.
#include <fmt/core.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "manifest/class_table.h"
#include "manifest/stage.h"
#include "ranks/world.h"
#include "train/packed_shards.h"
#include "train/training_run.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout = "Trains a network on packed shards, on one process or several (mpirun, srun).";
constexpr const char* kExample =
    "  mpirun -np 2 packhorse-train runs/demo/pack/manifest.json --network inception-bn-small --image-size 28\n"
    "  packhorse-train runs/demo/train/manifest.json          # the same run again, from the beginning\n"
    "Stopped by SIGTERM, SIGUSR1 or SIGINT it writes a checkpoint and ends with code 75; after that, or after a "
    "crash,\n"
    "the same command goes on from the last checkpoint and ends with the same weights as a run that was left alone.";

/// The finished run in the folder, where there is one with its last checkpoint in place.
bool finished(const fs::path& folder, StageManifest& found) {
  if (!fs::exists(folder / "manifest.json")) return false;
  found = StageManifest::load(folder / "manifest.json");
  if (found.stage != "train") {
    throw UsageError({"the folder holds the results of '" + found.stage + "'", folder.string(), "another --out"});
  }
  return fs::exists(found.output_of("checkpoint-last").path);
}

/// Whether running again would give what is there.
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

void record(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks) {
  StageManifest& manifest = stage.manifest();
  manifest.counts = {{"steps", summary.step}, {"epochs", summary.epochs}, {"images", summary.images}};
  if (summary.top1) {
    manifest.counts["top1"] = *summary.top1;
    manifest.counts["top5"] = *summary.top5;
    manifest.counts["best_top1"] = summary.best_top1;
  }
  manifest.counts["images_per_second"] = summary.images_per_second;
  manifest.counts["feed_wait_share"] = summary.feed_wait_share;
  classes.save(stage.out() / "classes.tsv");
  manifest.outputs = {describe_file("checkpoint-last", summary.last_checkpoint),
                      describe_file("checkpoint-best", summary.best_checkpoint),
                      describe_file("journal", summary.journal),
                      describe_file("class-table", stage.out() / "classes.tsv", classes.size())};
  stage.finish(ranks);
}

int run(World& world, int argc, char** argv) {
  Stage stage("train", kAbout, kExample);
  TrainingJob job;
  int threads = 0, feed_threads = 0, checkpoint_steps = 0, checkpoint_seconds = 600, log_steps = 20;
  job.settings.declare(stage.options);
  stage.options.run_option("threads", threads, "threads that compute, a rank (0: its share of the cores)");
  stage.options.run_option("feed-threads", feed_threads, "threads that decode, a rank (0: its share of the cores)");
  stage.options.run_option("checkpoint-steps", checkpoint_steps,
                           "a checkpoint every so many steps, besides each epoch's");
  stage.options.run_option("checkpoint-seconds", checkpoint_seconds, "a checkpoint at least so often (0: not by time)");
  stage.options.run_option("keep", job.keep, "checkpoints to keep, besides the best");
  stage.options.run_option("log-steps", log_steps, "a line in metrics.jsonl every so many steps");
  stage.options.run_option("restart", job.restart, "begin anew; what the folder holds of a run is removed");
  stage.begin(argc, argv, {"pack"});
  job.settings.check();
  job.settings.settle_precision();
  stage.manifest().settings["precision"] = job.settings.precision;  // what was used, not what was wished for

  const StageManifest& pack = stage.input();
  const ClassTable classes = ClassTable::load(pack.output_of("class-table").path);
  if (classes.crc32c() != pack.classes_crc32c) {
    throw DamageError({"the class table is not the one that the images were labelled with",
                       pack.output_of("class-table").path.string(), "run pack again"});
  }
  const CoreShare share = share_cores(world.local_size());
  job.recorded_settings = stage.manifest().settings;
  job.folder = stage.out();
  job.classes = static_cast<int64_t>(classes.size());
  job.classes_crc32c = pack.classes_crc32c;
  job.data_crc32c = data_crc32c(pack, "train");
  job.threads = threads > 0 ? threads : share.compute;
  job.feed_threads = feed_threads > 0 ? feed_threads : share.feed;
  job.checkpoint_steps = checkpoint_steps;
  job.checkpoint_seconds = checkpoint_seconds;
  job.log_steps = std::max(1, log_steps);

  if (stage.plan()) {
    if (world.rank() == 0)
      std::cout << plan_text(job, records_of(pack, "train"), records_of(pack, "validation"), world.size()) << "\n";
    return kExitOk;
  }
  StageManifest done;
  if (finished(stage.out(), done) && !job.restart) {
    // A repeat begins anew, but one that was itself stopped half-way goes on: then the last checkpoint is not there.
    job.restart = stage.repeats();
    if (!job.restart && same_run(done, stage.manifest())) {
      if (world.rank() == 0) {
        log_info("this run is finished: " + done.path.string() + " (--restart repeats it)");
        std::cout << result_text(done) << "\n";
      }
      return kExitOk;
    }
  }
  world.barrier();  // all have looked at the folder before rank 0 changes it
  if (world.rank() == 0) {
    make_folder(stage.out());
    if (!stage.repeats()) fs::remove(stage.out() / "manifest.json");
  }
  const auto training_shards = shards_of(pack, "train");
  if (training_shards.empty()) throw Error({"there are no training shards", pack.path.string(), "run pack again"});
  const ShardReader training(training_shards);
  const auto validation_shards = shards_of(pack, "validation");
  const auto validation = validation_shards.empty() ? nullptr : std::make_unique<ShardReader>(validation_shards);

  const TrainingSummary summary = run_training(world, job, training, validation.get());
  if (world.rank() != 0) return summary.stopped ? kExitAgain : kExitOk;
  if (summary.stopped) {
    std::cout << fmt::format("stopped on request after {} steps; the same command goes on from {}\n",
                             grouped(static_cast<uint64_t>(summary.step)), summary.last_checkpoint.string());
    return kExitAgain;
  }
  record(stage, summary, classes, world.size());
  std::cout << result_text(stage.manifest()) << "\n";
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}

// packhorse-train: trains a network on shards, with checkpoints from which a stopped run continues.
#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/text.h"
#include "feed/packed_shards.h"
#include "train/train_stage.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout = "Trains a network on packed shards, with one process or several (mpirun, srun).";
constexpr const char* kExample =
    "  mpirun -np 2 packhorse-train runs/demo/pack/manifest.json --network inception-bn-small --image-size 28\n"
    "  mpirun -np 2 packhorse-train runs/demo/train/manifest.json     # the same run again, from the beginning\n"
    "On SIGTERM, SIGUSR1 or SIGINT it writes a checkpoint and ends with code 75. After that, or after a crash,\n"
    "the same command continues from the last checkpoint and ends with the same weights as an uninterrupted run.";

int run(World& world, int argc, char** argv) {
  Stage stage("train", kAbout, kExample);
  TrainingJob job;
  job.declare(stage.options);
  stage.begin(argc, argv, {"pack"});
  const ClassTable classes = settle_training(stage, world, job);
  if (stage.plan()) {
    const StageManifest& pack = stage.input();
    StagePlan plan = planned(job, records_of(pack, "train"), records_of(pack, "validation"), world.size());
    plan.reads = {pack.path};
    if (world.is_root()) stage.print_plan(plan, planned_replacement(stage, job));
    return kExitOk;
  }
  if (const auto result = finished_result(stage, job)) {
    if (world.is_root()) fmt::print("{}\n", *result);
    return kExitOk;
  }
  const TrainingSummary summary = train(world, stage, job);
  if (summary.stopped && world.is_root()) {
    fmt::print("stopped on request after {} steps; the same command continues from {}\n",
               grouped(static_cast<uint64_t>(summary.step)), summary.last_checkpoint.string());
  }
  if (summary.stopped) return kExitAgain;
  if (world.is_root()) fmt::print("{}\n", finish_training(stage, summary, classes, world.size(), job.threads));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}

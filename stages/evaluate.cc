// packhorse-evaluate: the accuracy of a trained network, over all its classes or a selection of them.
#include <filesystem>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "feed/packed_shards.h"
#include "infer/evaluation_run.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout =
    "Evaluates a trained network on the validation images: top-1, top-5 and top-20 accuracy, with exact counts.";
constexpr const char* kExample =
    "  mpirun -np 2 packhorse-evaluate runs/demo/train/manifest.json\n"
    "  packhorse-evaluate runs/imagenet-21k/train/manifest.json --data runs/ilsvrc2012/pack/manifest.json \\\n"
    "      --subset data_manifests/ilsvrc2012.tsv    # a 21k network on ILSVRC2012's images and classes\n"
    "  packhorse-evaluate runs/imagenet-21k/train/manifest.json --under n02084071             # dogs only";

int run(World& world, int argc, char** argv) {
  Stage stage("evaluate", kAbout, kExample);
  InferenceSettings settings;
  std::string data, split = "validation";
  int batch_size = 64, threads = 0, workers = 0;
  settings.declare(stage.options);
  stage.options.setting("data", data,
                        "Manifest of other packed images. Default: those that the network was trained with.");
  stage.options.setting("split", split, "Which of the packed images to evaluate.");
  stage.options.one_of({"validation", "train"});
  stage.options.setting("batch-size", batch_size, "Number of images per step on each rank.");
  stage.options.between(1, 1 << 16);
  stage.options.run_option("threads", threads, "Compute threads per rank. 0: the rank's share of the cores.");
  stage.options.run_option("workers", workers,
                           "Threads per rank that decode images. 0: the rank's share of the cores.");
  stage.begin(argc, argv, {"train"});

  const StageManifest& train = stage.input();
  const fs::path checkpoint = find_checkpoint(stage, settings, train);
  const StageManifest pack =
      data.empty() ? earlier_stage(train, "pack") : StageManifest::load(settle_path(stage, "data", data));
  stage.manifest().inputs.push_back(describe_manifest("data", pack));
  stage.manifest().inputs.push_back(describe_file("checkpoint", checkpoint));

  const CoreShare share = share_cores(world.local_size());
  Inference inference(checkpoint, settings, batch_size, threads > 0 ? threads : share.compute, world.local_rank());
  if (data.empty()) check_trained_on(inference.info(), pack);
  EvaluationJob job;
  job.classes = load_class_table(train, inference.info().classes_crc32c);
  job.data_classes = load_class_table(pack);
  job.subset = chosen_classes(stage, settings.subset, settings.under, job.classes);
  job.batch = batch_size;
  job.workers = workers > 0 ? workers : share.feed;
  check_common_class(job, pack);
  const auto paths = shards_of(pack, split);
  if (paths.empty()) {
    throw UsageError({"there are no packed " + split + " images", pack.path.string(),
                      split == "train" ? "run pack again" : "use --split train, or --data with other images"});
  }
  const ShardReader shards(paths);
  if (world.is_root()) report_evaluation(inference, world, job, shards);
  if (stage.plan()) {
    StagePlan plan = planned(inference, world, job, shards);
    plan.reads.push_back(pack.path);
    if (world.is_root()) stage.print_plan(plan);
    return kExitOk;
  }
  const std::vector<ProcessId> ranks = world.processes();
  if (world.is_root()) stage.own(ranks);
  inference.load();
  Evaluation evaluation = run_evaluation(world, inference, shards, job);
  if (world.is_root()) fmt::print("{}\n", finish_evaluation(stage, evaluation, job, inference, pack, world.size()));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}

// packhorse-evaluate: how right a trained network is, over all its classes and over any of them.
#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "manifest/stage.h"
#include "train/evaluation_run.h"
#include "train/packed_shards.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout = "Counts how often a trained network is right on the validation images, exactly.";
constexpr const char* kExample =
    "  mpirun -np 2 packhorse-evaluate runs/demo/train/manifest.json\n"
    "  packhorse-evaluate runs/imagenet-21k/train/manifest.json --data runs/ilsvrc2012/pack/manifest.json \\\n"
    "      --subset data_manifests/ilsvrc2012.tsv    # a 21k network on the challenge's images and classes\n"
    "  packhorse-evaluate runs/imagenet-21k/train/manifest.json --under n02084071             # dogs only";

struct Settings {
  std::string checkpoint = "best", subset, under, data, split = "validation", precision = "f32", backend;
  int batch = 64;

  void declare(Options& options) {
    options.setting("checkpoint", checkpoint, "best, last, or a checkpoint's path");
    options.setting("subset", subset, "also choose among these classes only: a class table, or an id a line");
    options.setting("under", under, "also choose among the classes under this WordNet id only");
    options.setting("data", data, "manifest of other packed images (default: those it was trained beside)");
    options.setting("split", split, "which of the packed images");
    options.one_of({"validation", "train"});
    options.setting("batch", batch, "pictures at a time, a rank");
    options.between(1, 1 << 16);
    options.setting("precision", precision, "of activations");
    options.one_of({"f32", "bf16"});
    options.setting("backend", backend, "what computes (default: the fastest that was built)");
  }
};

std::string joined(const std::vector<std::string>& ids) {
  std::string text;
  for (const auto& id : ids) text += (text.empty() ? "" : ", ") + id;
  return text;
}

std::string accuracy_text(const ScopeResult& scope) {
  return fmt::format("top-1 {:.2f} %, top-5 {:.2f} %, top-20 {:.2f} % over {}", 100 * scope.accuracy[0],
                     100 * scope.accuracy[1], 100 * scope.accuracy[2], scope.title);
}

/// The images that come to be judged, and those whose labels the network does not have.
void report_choice(const EvaluationJob& job, uint64_t images) {
  const auto map = label_map(job.data_classes, job.classes);
  std::vector<std::string> unknown;
  for (size_t label = 0; label < map.size(); ++label) {
    if (map[label] < 0) unknown.push_back(job.data_classes[label].id);
  }
  log_info(fmt::format("{} images of {} classes", grouped(images), grouped(job.data_classes.size())));
  if (!unknown.empty()) {
    log_info(fmt::format("{} of these classes are not among the network's; their images are counted, not judged: {}",
                         grouped(unknown.size()), joined(unknown).substr(0, 400)));
  }
  if (job.subset && !job.subset->missing.empty()) {
    log_info(fmt::format("{} classes of the subset are not among the network's: {}",
                         grouped(job.subset->missing.size()), joined(job.subset->missing).substr(0, 400)));
  }
}

/// Seconds that the network alone takes, from two batches (the first one warms up).
double expected_seconds(Inference& inference, const EvaluationJob& job, uint64_t images, int ranks) {
  const auto side = static_cast<size_t>(inference.info().image_size);
  const std::vector<uint8_t> pixels(static_cast<size_t>(job.batch) * side * side * 3);
  inference.executor().infer(pixels);
  const auto before = std::chrono::steady_clock::now();
  inference.executor().infer(pixels);
  const double batch = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  return batch * std::ceil(static_cast<double>(images) / static_cast<double>(job.batch * ranks));
}

void record(Stage& stage, Evaluation& evaluation, const EvaluationJob& job, const Inference& inference,
            const fs::path& checkpoint, const StageManifest& pack, int ranks) {
  StageManifest& manifest = stage.manifest();
  evaluation.facts = {{"network", inference.info().network},
                      {"checkpoint", checkpoint.filename().string()},
                      {"data", pack.dataset.value("name", "")},
                      {"split", manifest.settings["split"].get<std::string>()},
                      {"precision", manifest.settings["precision"].get<std::string>()}};
  if (job.subset) evaluation.facts.emplace_back("subset_missing", joined(job.subset->missing));
  const fs::path file = stage.out() / "evaluation.h5";
  write_evaluation(file, evaluation);
  manifest.counts = {{"listed", evaluation.listed}};
  for (const ScopeResult& scope : evaluation.scopes) {
    manifest.counts[scope.name] = {{"classes", scope.classes},  {"images", scope.images},
                                   {"outside", scope.outside},  {"top1", scope.accuracy[0]},
                                   {"top5", scope.accuracy[1]}, {"top20", scope.accuracy[2]},
                                   {"loss", scope.loss}};
  }
  manifest.outputs = {describe_file("evaluation", file, evaluation.listed)};
  stage.finish(ranks);
}

int run(World& world, int argc, char** argv) {
  Stage stage("evaluate", kAbout, kExample);
  Settings settings;
  int threads = 0, feed_threads = 0;
  settings.declare(stage.options);
  stage.options.run_option("threads", threads, "threads that compute, a rank (0: its share of the cores)");
  stage.options.run_option("feed-threads", feed_threads, "threads that decode, a rank (0: its share of the cores)");
  stage.begin(argc, argv, {"train"});

  const StageManifest& train = stage.input();
  const bool named = settings.checkpoint == "best" || settings.checkpoint == "last";
  const fs::path checkpoint =
      named ? named_checkpoint(train, settings.checkpoint) : settle_path(stage, "checkpoint", settings.checkpoint);
  const StageManifest pack = settings.data.empty() ? earlier_stage(train, "pack")
                                                   : StageManifest::load(settle_path(stage, "data", settings.data));
  stage.manifest().inputs.push_back(describe_manifest("data", pack));
  stage.manifest().inputs.push_back(describe_file("checkpoint", checkpoint));

  const CoreShare share = share_cores(world.local_size());
  Inference inference(checkpoint,
                      {settings.batch, settings.precision, settings.backend, threads > 0 ? threads : share.compute});
  EvaluationJob job;
  job.classes = load_classes(train, inference.info().classes_crc32c);
  job.data_classes = load_classes(pack, pack.classes_crc32c);
  job.subset = chosen_classes(stage, settings.subset, settings.under, job.classes);
  job.batch = settings.batch;
  job.feed_threads = feed_threads > 0 ? feed_threads : share.feed;

  const auto paths = shards_of(pack, settings.split);
  if (paths.empty()) {
    throw UsageError({"there are no packed " + settings.split + " images", pack.path.string(),
                      settings.split == "train" ? "run pack again" : "--split train, or --data with other images"});
  }
  const ShardReader shards(paths);
  if (world.rank() == 0) {
    report_choice(job, shards.records());
    const auto feed = Feed::memory_bytes(evaluation_feed(inference, world, job, shards.records()));
    log_info(inference.memory_text(feed + shards.index_bytes()));
  }
  if (stage.plan()) {
    const double seconds = expected_seconds(inference, job, shards.records(), world.size());
    if (world.rank() == 0) {
      std::cout << fmt::format("would evaluate {} images with {} on {} in about {}, and write {}\n",
                               grouped(shards.records()), checkpoint.string(),
                               world.size() == 1 ? "1 rank" : std::to_string(world.size()) + " ranks",
                               duration_text(seconds), (stage.out() / "evaluation.h5").string());
    }
    return kExitOk;
  }
  if (world.rank() == 0) make_folder(stage.out());  // a folder that cannot be written in is found out at once
  inference.load();
  Evaluation evaluation = run_evaluation(world, inference, shards, job);
  if (world.rank() != 0) return kExitOk;
  record(stage, evaluation, job, inference, checkpoint, pack, world.size());
  std::string text;
  for (const ScopeResult& scope : evaluation.scopes) text += (text.empty() ? "" : "; ") + accuracy_text(scope);
  std::cout << fmt::format("evaluated {} of {} images: {}, {}\n", grouped(evaluation.scopes.front().images),
                           grouped(evaluation.listed), text, duration_text(stage.seconds()));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}

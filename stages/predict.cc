// packhorse-predict: predicts the classes of images with a trained network, with names and probabilities.
#include "infer/predict.h"

#include <algorithm>
#include <filesystem>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/run.h"
#include "base/text.h"
#include "infer/image_files.h"
#include "report/predictions_page.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout =
    "Predicts the classes of images (JPEG, PNG and WebP) with a trained network. A file that is named is taken as an "
    "image; "
    "of a folder or a plain tar the images in it are taken, by the same rule as 'list' takes them, and what is no "
    "image "
    "is counted and named. '-' is standard input: a tar, an image, or names of files, one a line. If an image cannot "
    "be read, it is reported, the other images are predicted, and the exit code is 1. Writes files only if --out, "
    "--name, --html or --features asks for them. Given its own manifest and no images, it predicts the same images "
    "again, into the same folder.";
constexpr const char* kExample =
    "  packhorse-predict runs/demo/train/manifest.json shirt.jpg images/\n"
    "  packhorse-predict runs/imagenet-21k/train/manifest.json dog.jpg --under n02084071 --topk 10   # dogs only\n"
    "  packhorse-predict runs/demo/train/manifest.json images/ --json > predictions.json\n"
    "  find /data -name '*.jpg' | packhorse-predict runs/demo/train/manifest.json -\n"
    "  packhorse-predict runs/demo/train/manifest.json images/ --out seen --features features.h5   # seen/features.h5";
constexpr const char* kImageRole = "images";
constexpr size_t kMaxBatch = 32;

/// The images on the command line; else those that the run had that is repeated.
std::vector<std::string> images_to_predict(const Stage& stage, std::vector<std::string> named) {
  if (!named.empty()) return named;
  if (!stage.repeats())
    throw UsageError({"no images are given", "", "name images, folders or tars of them, or - for standard input"});
  for (const FileEntry& file : stage.repeated().inputs)
    if (file.role == kImageRole) named.push_back(fs::proximate(file.path).string());
  if (named.empty())
    throw UsageError({"these images came from standard input, which was not kept", stage.repeated().path.string(),
                      "give the images again"});
  return named;
}

/// Writes what is asked for: JSON, the page, what was skipped, features, and a manifest that records the images.
void write_folder(Stage& stage, const Predictions& predictions, const GivenImages& given, const std::string& page_text,
                  const std::string& features, const Inference& inference, const ClassTable& classes) {
  const fs::path json = stage.work() / "predictions.json", page = stage.work() / "predictions.html";
  const fs::path skipped = stage.work() / "skipped.tsv";
  write_text(json, predictions_json(predictions, classes));
  write_text(page, page_text);
  write_text(skipped, skipped_lines("images", given.skipped()));
  StageManifest& manifest = stage.manifest();
  const uint64_t images = predictions.list.size();
  manifest.counts = {
      {"found", images + given.skipped().size()}, {"listed", images},
      {"predicted", images - predictions.unread}, {"unread", predictions.unread},
      {"skipped", given.skipped().size()},        {"skipped_by_reason", skipped_by_reason(given.skipped())}};
  manifest.resampling = predictions.resampling;
  manifest.backend = inference.backend_description();
  manifest.inputs.push_back(describe_file("checkpoint", inference.checkpoint()));
  for (const fs::path& file : given.files()) manifest.inputs.push_back(describe_file(kImageRole, file));
  manifest.outputs = {describe_file("predictions", json, images), describe_file("page", page),
                      describe_file("skipped", skipped, given.skipped().size())};
  if (!features.empty()) {
    write_features(stage.work() / features, predictions, inference.info().network);
    manifest.outputs.push_back(describe_file("features", stage.work() / features, images));
  }
  stage.finish(1);
}

int run(int argc, char** argv) {
  Stage stage("predict", kAbout, kExample);
  InferenceSettings settings;
  std::vector<std::string> named;
  std::string html, features;
  bool json = false;
  int top_k = 5, threads = 0;
  settings.declare(stage.options);
  stage.options.setting("topk", top_k, "Number of classes to show for each image.");
  stage.options.between(1, 1000);
  stage.options.argument("images", named, "Image files, folders or tars of them, or - for standard input.", false);
  stage.options.run_option("json", json, "Print JSON instead of text.");
  stage.options.run_option("html", html, "Write an HTML page with the images and predictions to this file.");
  stage.options.run_option(
      "features", features,
      "Write the features of the last layer before the classifier to this HDF5 file; a name without a "
      "slash is in the folder of --out or --name, if they are given.");
  stage.options.run_option("threads", threads, "Number of threads. 0: all cores.");
  stage.begin(argc, argv, {"train", "evaluate", "export"});

  const StageManifest train = earlier_stage(stage.input(), "train");
  const GivenImages given(images_to_predict(stage, named));
  const size_t images = given.images().size();
  const size_t batch = std::min(images, kMaxBatch);
  const int workers = threads > 0 ? threads : share_cores(1).compute;
  Inference inference(find_checkpoint(stage, settings, train), settings, static_cast<int64_t>(batch), workers);
  const ClassTable classes = load_class_table(train, inference.info().classes_crc32c);
  const ClassChoice choice =
      chosen_classes(stage, settings.subset, settings.under, classes).value_or(all_classes(classes));
  const std::string about =
      fmt::format("{} after {}, predicting among {}", inference.info().network,
                  counted(static_cast<uint64_t>(inference.info().batches_taken), "step"), choice.title);
  if (stage.plan()) {
    StagePlan plan;
    plan.does = fmt::format("predict {}{}", counted(images, "image"), skipped_clause(given.skipped()));
    plan.reads = {inference.checkpoint()};
    plan.details = {{"network", about, inference.info().network}, {"images", counted(images, "image"), images}};
    plan.memory_bytes = static_cast<double>(inference.memory_bytes());
    plan.threads = workers;
    stage.print_plan(plan);
    return kExitOk;
  }
  if (stage.writes()) stage.own();
  log_info(about);
  if (!stage.writes()) log_skipped(given.skipped());
  inference.load();
  const Predictions predictions = predict(inference, given, choice, top_k, batch, workers);
  const std::string count =
      fmt::format("predicted {} of {}{}, {}", grouped(images - predictions.unread), counted(images, "image"),
                  skipped_clause(given.skipped()), duration_text(stage.seconds()));
  std::string page;
  if (stage.writes() || !html.empty()) {
    page = predictions_page(predictions, classes, about, [&](size_t i) {
      std::vector<std::byte> bytes;
      given.read(given.images()[i], bytes);
      return bytes;
    });
  }
  const bool inside = stage.writes() && features.find('/') == std::string::npos;
  if (stage.writes()) write_folder(stage, predictions, given, page, inside ? features : "", inference, classes);
  if (!html.empty()) write_text(html, page);
  if (!features.empty() && !inside) write_features(features, predictions, inference.info().network);
  fmt::print("{}", json ? predictions_json(predictions, classes) : predictions_text(predictions, classes));
  json ? log_info(count) : fmt::print("{}\n", count);
  return predictions.unread == 0 ? kExitOk : kExitFailure;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_stage([&] { return run(argc, argv); });
}

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
    "Predicts the classes of images (JPEG and PNG) with a trained network. A file that is named is taken as an image; "
    "of "
    "a folder or a plain tar the images in it are taken, by the same rule as 'list' takes them, and what is no image "
    "is "
    "counted and named. '-' is standard input: a tar, an image, or names of files, one a line. If an image cannot be "
    "read, it is reported, the other images are predicted, and the exit code is 1. Writes files only if --out, --html "
    "or --features asks for them.";
constexpr const char* kExample =
    "  packhorse-predict runs/demo/train/manifest.json shirt.jpg images/\n"
    "  packhorse-predict runs/imagenet-21k/train/manifest.json dog.jpg --under n02084071 --topk 10   # dogs only\n"
    "  packhorse-predict runs/demo/train/manifest.json images/ --json > predictions.json\n"
    "  find /data -name '*.jpg' | packhorse-predict runs/demo/train/manifest.json -\n"
    "  packhorse-predict runs/demo/train/manifest.json images/ --out seen --features features.h5";
constexpr size_t kMaxBatch = 32;

/// Writes what --out asks for: JSON, the page, what was skipped, and a manifest that records the inputs.
void write_folder(Stage& stage, const Predictions& predictions, const Skipped& skipped, const std::string& page_text,
                  const ClassTable& classes) {
  const fs::path json = stage.work() / "predictions.json", page = stage.work() / "predictions.html";
  const fs::path skipped_file = stage.work() / "skipped.tsv";
  write_text(json, predictions_json(predictions, classes));
  write_text(page, page_text);
  write_text(skipped_file, skipped_lines("images", skipped));
  const uint64_t images = predictions.list.size();
  stage.manifest().counts = {{"found", images + skipped.size()},
                             {"listed", images},
                             {"predicted", images - predictions.unread},
                             {"unread", predictions.unread},
                             {"skipped", skipped.size()},
                             {"skipped_by_reason", skipped_by_reason(skipped)}};
  stage.manifest().resampling = predictions.resampling;
  stage.manifest().outputs = {describe_file("predictions", json, images), describe_file("page", page),
                              describe_file("skipped", skipped_file, skipped.size())};
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
  stage.options.argument("images", named, "Image files, folders or tars of them, or - for standard input.");
  stage.options.run_option("json", json, "Print JSON instead of text.");
  stage.options.run_option("html", html, "Write an HTML page with the images and predictions to this file.");
  stage.options.run_option("features", features,
                           "Write the features of the last layer before the classifier to this HDF5 file.");
  stage.options.run_option("threads", threads, "Number of threads. 0: all cores.");
  stage.begin(argc, argv, {"train", "evaluate", "export"});

  const StageManifest train = earlier_stage(stage.input(), "train");
  const GivenImages given(named);
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
    fmt::print("would predict {}{} with {}; {}\n", counted(images, "image"), skipped_clause(given.skipped()), about,
               inference.memory_text(0));
    return kExitOk;
  }
  if (stage.out_given()) stage.own();
  log_info(about);
  if (!stage.out_given()) log_skipped(given.skipped());
  inference.load();
  const Predictions predictions = predict(inference, given, choice, top_k, batch, workers);
  const std::string count =
      fmt::format("predicted {} of {}{}, {}", grouped(images - predictions.unread), counted(images, "image"),
                  skipped_clause(given.skipped()), duration_text(stage.seconds()));
  std::string page;
  if (stage.out_given() || !html.empty()) {
    page = predictions_page(predictions, classes, about, [&](size_t i) {
      std::vector<std::byte> bytes;
      given.read(given.images()[i], bytes);
      return bytes;
    });
  }
  if (stage.out_given()) write_folder(stage, predictions, given.skipped(), page, classes);
  if (!html.empty()) write_text(html, page);
  if (!features.empty()) write_features(features, predictions, inference.info().network);
  fmt::print("{}", json ? predictions_json(predictions, classes) : predictions_text(predictions, classes));
  json ? log_info(count) : fmt::print("{}\n", count);
  return predictions.unread == 0 ? kExitOk : kExitFailure;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_stage([&] { return run(argc, argv); });
}

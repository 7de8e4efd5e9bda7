// packhorse-predict: what a trained network sees in pictures, with names and probabilities.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/run.h"
#include "manifest/stage.h"
#include "metrics/hdf5_file.h"
#include "report/html.h"
#include "report/page.h"
#include "train/class_choice.h"
#include "train/inference.h"
#include "train/picture_files.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout =
    "Looks at pictures (JPEG and PNG files, or folders of them) with a trained network. A picture that cannot be read "
    "is "
    "named, the others go on, and the exit code is 1.";
constexpr const char* kExample =
    "  packhorse-predict runs/demo/train/manifest.json shirt.jpg pictures/\n"
    "  packhorse-predict runs/imagenet-21k/train/manifest.json dog.jpg --under n02084071 --top 10   # dogs only\n"
    "  packhorse-predict runs/demo/train/manifest.json pictures/ --json > predictions.json\n"
    "  packhorse-predict runs/demo/train/manifest.json pictures/ --out seen --features features.h5";
constexpr int kMostBatch = 32;
constexpr int kPictureEdge = 200;  // pixels of a picture's short side on the page

struct Prediction {
  fs::path path;
  PreparedPicture picture;
  std::vector<ScoredClass> best;
};

struct Predictions {
  std::vector<Prediction> list;
  std::vector<float> features;  // (N, C), zeros for a picture that could not be read
  size_t unread = 0;
};

struct Settings {
  std::string checkpoint = "best", subset, under, precision = "f32", backend;
  int top = 5;

  void declare(Options& options) {
    options.setting("top", top, "choices to show");
    options.between(1, 1000);
    options.setting("checkpoint", checkpoint, "best, last, or a checkpoint's path");
    options.setting("subset", subset, "choose among these classes only: a class table, or an id a line");
    options.setting("under", under, "choose among the classes under this WordNet id only");
    options.setting("precision", precision, "of activations");
    options.one_of({"f32", "bf16"});
    options.setting("backend", backend, "what computes (default: the fastest that was built)");
  }
};

Predictions predict(Inference& inference, const std::vector<fs::path>& paths, const NamedChoice& choice, int top,
                    size_t batch, int threads) {
  const auto classes = static_cast<size_t>(inference.info().classes);
  const FeedOptions feed = inference.feed({paths.size(), batch, 1, 0}, inference.info().classes, threads);
  std::vector<uint8_t> pixels(batch * static_cast<size_t>(feed.augment.size) * static_cast<size_t>(feed.augment.size) *
                              3);
  Predictions all;
  for (size_t first = 0; first < paths.size(); first += batch) {
    const auto some = std::span(paths).subspan(first, std::min(batch, paths.size() - first));
    const auto prepared = prepare_pictures(some, feed.augment, threads, pixels);
    const std::span<const float> logits = inference.executor().infer(pixels);
    const std::span<const float> features = inference.executor().features();
    const size_t width = features.size() / batch;
    for (size_t i = 0; i < some.size(); ++i) {
      Prediction prediction{some[i], prepared[i], {}};
      const bool good = prepared[i].problem.empty();
      if (good) {
        prediction.best = best_classes(logits.subspan(i * classes, classes), choice.choice, static_cast<size_t>(top));
      } else {
        log_warning(prepared[i].problem + ": " + some[i].string());
        ++all.unread;
      }
      for (size_t c = 0; c < width; ++c) all.features.push_back(good ? features[i * width + c] : 0.0f);
      all.list.push_back(std::move(prediction));
    }
  }
  return all;
}

void print_text(const Predictions& predictions, const ClassTable& classes) {
  constexpr int kBar = 20;
  for (const Prediction& prediction : predictions.list) {
    if (prediction.best.empty()) continue;
    std::cout << fmt::format("{} ({} x {})\n", prediction.path.string(), prediction.picture.width,
                             prediction.picture.height);
    size_t widest = 0;
    for (const ScoredClass& best : prediction.best) widest = std::max(widest, classes[best.label].id.size());
    for (const ScoredClass& best : prediction.best) {
      const auto length = static_cast<size_t>(std::lround(kBar * best.probability));
      std::cout << fmt::format("  {:5.1f} %  {:<{}}  {:<{}}  {}\n", 100 * best.probability, std::string(length, '#'),
                               kBar, classes[best.label].id, widest, classes[best.label].names);
    }
  }
}

Json as_json(const Predictions& predictions, const ClassTable& classes) {
  Json list = Json::array();
  for (const Prediction& prediction : predictions.list) {
    Json entry = {{"image", prediction.path.string()}};
    if (!prediction.picture.problem.empty()) {
      entry["problem"] = prediction.picture.problem;
    } else {
      entry["width"] = prediction.picture.width;
      entry["height"] = prediction.picture.height;
      entry["predictions"] = Json::array();
      for (const ScoredClass& best : prediction.best) {
        entry["predictions"].push_back({{"id", classes[best.label].id},
                                        {"name", classes.short_name(best.label)},
                                        {"label", best.label},
                                        {"probability", best.probability}});
      }
    }
    list.push_back(std::move(entry));
  }
  return list;
}

std::string json_text(const Predictions& predictions, const ClassTable& classes) {
  // A file's name need not be UTF-8: what is not is replaced.
  return as_json(predictions, classes).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string page(const Predictions& predictions, const ClassTable& classes, const std::string& about) {
  std::vector<PictureCard> cards;
  for (const Prediction& prediction : predictions.list) {
    PictureCard card;
    card.caption = prediction.path.filename().string();
    card.note = prediction.picture.problem;
    if (card.note.empty()) {
      const std::string file = read_text(prediction.path);
      card.picture_url = picture_url({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, kPictureEdge);
      card.note = fmt::format("{} x {}", prediction.picture.width, prediction.picture.height);
    }
    for (const ScoredClass& best : prediction.best) {
      card.bars.push_back({classes.short_name(best.label), best.probability, false});
    }
    cards.push_back(std::move(card));
  }
  return page_around("Packhorse: predictions", "<h1>Predictions</h1>\n<p class=\"about\">" + escape_html(about) +
                                                   "</p>\n" + picture_cards(cards));
}

void write_features(const fs::path& path, const Predictions& predictions, const std::string& network) {
  Hdf5Writer writer(path);
  std::vector<std::string> names;
  std::vector<uint8_t> read;
  for (const Prediction& prediction : predictions.list) {
    names.push_back(prediction.path.string());
    read.push_back(prediction.picture.problem.empty() ? 1 : 0);
  }
  const auto rows = static_cast<int64_t>(names.size());
  writer.write("features", std::span<const float>(predictions.features),
               {rows, static_cast<int64_t>(predictions.features.size()) / rows});
  writer.attribute("features", "about", "the network's last layer before the classifier, a row an image");
  writer.attribute("features", "network", network);
  writer.write("images", names);
  writer.write("read", std::span<const uint8_t>(read), {rows});
  writer.attribute("read", "about", "0: the image could not be read, its row is zeros");
  writer.commit();
}

/// What --out asks for: everything, and a manifest that says from what it was made.
void write_folder(Stage& stage, const Predictions& predictions, const ClassTable& classes, const std::string& about) {
  const fs::path list = stage.out() / "predictions.json", pictures = stage.out() / "predictions.html";
  write_text(list, json_text(predictions, classes));
  write_text(pictures, page(predictions, classes, about));
  StageManifest& manifest = stage.manifest();
  const uint64_t images = predictions.list.size();
  manifest.counts = {{"listed", images}, {"predicted", images - predictions.unread}, {"unread", predictions.unread}};
  manifest.outputs = {describe_file("predictions", list, images), describe_file("page", pictures)};
  stage.finish(1);
}

int run(int argc, char** argv) {
  Stage stage("predict", kAbout, kExample);
  Settings settings;
  std::vector<std::string> named;
  std::string html, features;
  bool json = false;
  int threads = 0;
  settings.declare(stage.options);
  stage.options.argument("images", named, "pictures, or folders of them");
  stage.options.run_option("json", json, "print JSON instead of text");
  stage.options.run_option("html", html, "write a page with the pictures to this file");
  stage.options.run_option("features", features, "write the last layer's features to this HDF5 file");
  stage.options.run_option("threads", threads, "threads (0: all cores)");
  stage.begin(argc, argv, {"train", "evaluate", "export"});

  const StageManifest train = earlier_stage(stage.input(), "train");
  const bool word = settings.checkpoint == "best" || settings.checkpoint == "last";
  const fs::path checkpoint =
      word ? named_checkpoint(train, settings.checkpoint) : settle_path(stage, "checkpoint", settings.checkpoint);
  const auto paths = picture_paths(named);
  const auto batch = static_cast<int64_t>(std::min<size_t>(paths.size(), kMostBatch));
  const int workers = threads > 0 ? threads : share_cores(1).compute;
  Inference inference(checkpoint, {batch, settings.precision, settings.backend, workers});
  const ClassTable classes = load_classes(train, inference.info().classes_crc32c);
  const auto subset = chosen_classes(stage, settings.subset, settings.under, classes);
  const NamedChoice choice = subset ? *subset : all_classes(classes);
  const std::string about = fmt::format("{} after {} steps, choosing among {}", inference.info().network,
                                        grouped(static_cast<uint64_t>(inference.info().step)), choice.title);
  if (stage.plan()) {
    std::cout << fmt::format("would look at {} images with {}; {}\n", grouped(paths.size()), about,
                             inference.memory_text(0));
    return kExitOk;
  }
  if (stage.out_given()) make_folder(stage.out());
  log_info(about);
  inference.load();
  const Predictions predictions = predict(inference, paths, choice, settings.top, static_cast<size_t>(batch), workers);
  const std::string count = fmt::format("predicted {} of {} images, {}", grouped(paths.size() - predictions.unread),
                                        grouped(paths.size()), duration_text(stage.seconds()));
  if (stage.out_given()) write_folder(stage, predictions, classes, about);
  if (!html.empty()) write_text(html, page(predictions, classes, about));
  if (!features.empty()) write_features(features, predictions, inference.info().network);
  if (json) {
    std::cout << json_text(predictions, classes);
    log_info(count);
  } else {
    print_text(predictions, classes);
    std::cout << count << "\n";
  }
  return predictions.unread == 0 ? kExitOk : kExitFailure;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_stage([&] { return run(argc, argv); });
}

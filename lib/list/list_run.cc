#include "list/list_run.h"

#include <filesystem>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDescription = "the data set's description";

/// The settings that the description gives; ignores a path whose setting is given on the command line.
Json described_settings(const Stage& stage) {
  const Json& data = stage.input().dataset;
  Json settings = Json::object();
  const auto take_path = [&](const Json& part, const std::string& key, const std::string& setting) {
    if (!part.contains(key) || stage.options.given(setting)) return;
    settings[setting] = json_member<std::string>(part, key, kDescription);
  };
  if (data.contains("train")) take_path(data["train"], "source", "train-source");
  take_path(data, "classes", "classes");
  if (!data.contains("validation")) return settings;
  const Json& validation = data["validation"];
  take_path(validation, "source", "validation-source");
  take_path(validation, "ground_truth", "ground-truth");
  if (validation.contains("fraction")) {
    settings["validation-fraction"] = json_member<double>(validation, "fraction", kDescription);
  }
  if (validation.contains("per_class")) {
    settings["validation-per-class"] = json_member<uint64_t>(validation, "per_class", kDescription);
  }
  return settings;
}

void check(const ListSettings& settings) {
  if (settings.train_source.empty()) {
    throw UsageError({"no source of training images is given", kDescription, "add \"train\": {\"source\": ...}"});
  }
  if (!settings.ground_truth.empty() && settings.validation_source.empty()) {
    throw UsageError({"ground truth is given, but no validation source", settings.ground_truth,
                      "give the images with --validation-source"});
  }
  if (!settings.validation_source.empty() && settings.split.wanted()) {
    throw UsageError({"validation images are given both by a source and by a split", settings.validation_source,
                      "remove --validation-source, or --validation-fraction and --validation-per-class"});
  }
}

/// Names a path that leads nowhere by its setting, and says where a relative path starts.
void check_paths(const Stage& stage, const ListSettings& settings) {
  const std::pair<const char*, const std::string&> paths[] = {{"train-source", settings.train_source},
                                                              {"validation-source", settings.validation_source},
                                                              {"ground-truth", settings.ground_truth},
                                                              {"classes", settings.classes}};
  for (const auto& [setting, path] : paths) {
    std::error_code failed;  // what cannot be looked at for another reason says so when it is opened
    if (path.empty() || fs::status(path, failed).type() != fs::file_type::not_found) continue;
    const std::string home = stage.input().dataset_folder.string();
    const std::string start = stage.options.given(setting)
                                  ? "a relative path on the command line starts at the folder in which the command runs"
                                  : "a relative path in a description starts at the description's folder, " + home;
    throw UsageError({std::string("nothing is there; '") + setting + "' names it", path,
                      "check the path, and that it is mounted (" + start + ")"});
  }
}

/// Logs what the user should know in addition to the counts.
void report(const Json& data, const MadeLists& made) {
  if (made.classes_without_images > 0) {
    log_warning("no training image is in " + counted(made.classes_without_images, "class") + " of the table");
  }
  if (made.lists.classes_spared > 0) {
    log_info("fewer validation images than requested come from " + counted(made.lists.classes_spared, "class") +
             ", because one image of each class stays for training");
  }
  if (!data.contains("expect")) return;
  const auto compare = [&](const char* what, uint64_t found) {
    if (!data["expect"].contains(what)) return;
    const auto expected = json_member<uint64_t>(data["expect"], what, "the data set's description, expect");
    if (expected != found) {
      log_warning("the description expects " + grouped(expected) + " " + what + ", but there are " + grouped(found));
    }
  };
  compare("images", made.lists.train.size() + made.lists.validation.size());
  compare("classes", made.classes.size());
}

/// Writes skipped.tsv: a line for everything in the sources that is not listed.
void write_skipped(Stage& stage, const MadeLists& made) {
  const fs::path path = stage.work() / "skipped.tsv";
  write_text(path, skipped_lines("train", made.skipped_train) + skipped_lines("validation", made.skipped_validation));
  stage.manifest().outputs.push_back(
      describe_file("skipped", path, made.skipped_train.size() + made.skipped_validation.size()));
}

/// Everything found is listed or skipped, or the stage fails.
void count(Stage& stage, const MadeLists& made) {
  const uint64_t train = made.lists.train.size(), validation = made.lists.validation.size();
  const uint64_t skipped = made.skipped_train.size() + made.skipped_validation.size();
  auto by_reason = skipped_by_reason(made.skipped_train);
  for (const auto& [reason, entries] : skipped_by_reason(made.skipped_validation)) by_reason[reason] += entries;
  stage.manifest().counts = {{"found", made.found},           {"listed", train + validation},   {"train", train},
                             {"validation", validation},      {"classes", made.classes.size()}, {"skipped", skipped},
                             {"skipped_by_reason", by_reason}};
  if (made.found != train + validation + skipped) {
    throw Error(
        {fmt::format("{} entries were found, but {} listed and {} skipped", made.found, train + validation, skipped),
         stage.out().string(), "report this defect of packhorse-list"});
  }
}

/// Writes the lists, the class table and what was skipped, and adds them to the manifest.
void write_outputs(Stage& stage, const ListPlan& plan, const MadeLists& made) {
  const fs::path& out = stage.work();
  StageManifest& manifest = stage.manifest();
  count(stage, made);
  const auto write_list = [&](const std::string& split, const std::vector<ImageEntry>& images) {
    write_image_list(out / (split + ".lst"), images);
    manifest.outputs.push_back(describe_file(split + "-list", out / (split + ".lst"), images.size()));
  };
  write_list("train", made.lists.train);
  if (!made.lists.validation.empty()) write_list("validation", made.lists.validation);
  made.classes.save(out / "classes.tsv");
  manifest.outputs.push_back(describe_file("class-table", out / "classes.tsv", made.classes.size()));
  write_skipped(stage, made);
  if (!plan.classes.empty()) manifest.inputs.push_back(describe_file("classes", plan.classes));
  if (!plan.ground_truth.empty()) manifest.inputs.push_back(describe_file("ground-truth", plan.ground_truth));
  manifest.classes_crc32c = made.classes.crc32c();
}

}  // namespace

void ListSettings::declare(Options& options) {
  options.setting("train-source", train_source, "Folder, tar or listing of the training images.");
  options.setting("validation-source", validation_source, "Folder, tar or listing of separate validation images.");
  options.setting("ground-truth", ground_truth,
                  "Text file with the classes of a validation source that does not give them, one line per image.");
  options.setting("classes", classes, "Class table that fixes the labels. Default: the classes found, sorted by id.");
  options.setting("validation-fraction", split.fraction,
                  "Fraction of each training class to use for validation, from 0 to 0.9.");
  options.between(0, 0.9);
  options.setting("validation-per-class", split.per_class,
                  "Number of images of each training class to use for validation instead. 0: use the fraction.");
  options.setting("wordnet", wordnet, "data.noun of WordNet 3.0, for the names of the classes.");
  options.setting("seed", seed, "Seed of the shuffle and of the split.");
}

ListPlan plan_lists(Stage& stage, ListSettings& settings) {
  if (!stage.repeats()) stage.options.apply(described_settings(stage), kDescription);
  stage.manifest().settings = stage.options.settings();
  const std::pair<const char*, std::string&> paths[] = {{"train-source", settings.train_source},
                                                        {"validation-source", settings.validation_source},
                                                        {"ground-truth", settings.ground_truth},
                                                        {"classes", settings.classes},
                                                        {"wordnet", settings.wordnet}};
  for (const auto& [setting, path] : paths)
    if (!path.empty()) path = settle_path(stage, setting, path).string();
  check(settings);
  check_paths(stage, settings);
  return {settings.train_source, settings.validation_source, settings.ground_truth,
          settings.classes,      settings.wordnet,           settings.split,
          settings.seed};
}

StagePlan planned(const Stage& stage, const ListPlan& lists) {
  StagePlan plan;
  plan.does = "list the images of " + stage.input().dataset.value("name", "a data set");
  const auto source = [&](const char* split, const fs::path& path, Labels labels) {
    const std::string bytes = fs::is_regular_file(path) ? ", " + bytes_text(fs::file_size(path)) : "";
    const std::string form = form_of_source(path, labels);
    plan.reads.push_back(path);
    plan.details.push_back({split, path.string() + ": " + form + bytes, {{"source", path.string()}, {"form", form}}});
  };
  source("train", lists.train_source, Labels::by_source);
  if (!lists.validation_source.empty()) {
    source("validation", lists.validation_source, lists.ground_truth.empty() ? Labels::by_source : Labels::elsewhere);
  } else if (lists.split.per_class > 0) {
    plan.details.push_back({"validation",
                            counted(lists.split.per_class, "image") + " of each class, taken from train",
                            {{"per_class", lists.split.per_class}}});
  } else {
    plan.details.push_back({"validation",
                            fmt::format("{:.3g} % of each class, taken from train", 100 * lists.split.fraction),
                            {{"fraction", lists.split.fraction}}});
  }
  const std::string classes = lists.classes.empty() ? "as found" : lists.classes.string();
  plan.details.push_back({"classes", classes, classes});
  const Json& data = stage.input().dataset;
  if (data.contains("expect") && data["expect"].contains("images")) {
    constexpr double kMemoryBytes = 400, kDiskBytes = 90;  // per image, approximately
    const auto images = json_member<double>(data["expect"], "images", "expect");
    plan.memory_bytes = kMemoryBytes * images;
    plan.disk_bytes = kDiskBytes * images;
    plan.disk_words = "the lists of " + counted(static_cast<uint64_t>(images), "image");
  }
  plan.time_words = "names and headers are read, and nothing is unpacked";
  plan.threads = share_cores(1).feed;
  return plan;
}

std::string run_list(Stage& stage, const ListPlan& plan) {
  stage.own();
  log_info("listing " + plan.train_source.string());
  const MadeLists made = make_lists(plan);
  report(stage.input().dataset, made);
  write_outputs(stage, plan, made);
  stage.finish(1);
  const Lists& lists = made.lists;
  Skipped skipped = made.skipped_train;
  skipped.insert(skipped.end(), made.skipped_validation.begin(), made.skipped_validation.end());
  const std::string named = skipped.empty() ? "" : skipped_clause(skipped) + ", see skipped.tsv";
  return fmt::format("listed {} of {}: {} for training, {} for validation{}, {}",
                     counted(lists.train.size() + lists.validation.size(), "image"),
                     counted(made.classes.size(), "class"), grouped(lists.train.size()),
                     grouped(lists.validation.size()), named, duration_text(stage.seconds()));
}

}  // namespace packhorse

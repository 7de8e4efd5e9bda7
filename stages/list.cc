// packhorse-list: from a data set's description to shuffled lists of its images and the table of its classes.
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/run.h"
#include "manifest/stage.h"
#include "manifest/wordnet.h"
#include "source/make_lists.h"
#include "source/source.h"

#include <fmt/core.h>

namespace packhorse {
namespace {
namespace fs = std::filesystem;

constexpr const char* kAbout =
    "Lists the images of a data set: walks its sources in place, without unpacking, splits off validation pictures "
    "class by class, and writes shuffled lists and the class table.";
constexpr const char* kExample =
    "  export IMAGENET=/data/imagenet/fall11_whole.tar\n"
    "  packhorse-list data_manifests/imagenet-21k.json --out runs/imagenet-21k/list";

struct Settings {
  std::string train, validation, ground_truth, classes, wordnet = kWordNetNouns;
  Split split;
  uint64_t seed = 1;
};

void add_options(Options& options, Settings& settings) {
  options.setting("train-source", settings.train, "folder, tar or listing of the training images");
  options.setting("validation-source", settings.validation, "the same for validation images of their own");
  options.setting("ground-truth", settings.ground_truth, "classes of a flat validation source, one line a picture");
  options.setting("classes", settings.classes, "class table that fixes labels (else the classes found, sorted)");
  options.setting("validation-fraction", settings.split.fraction, "part of each training class taken for validation");
  options.between(0, 0.9);
  options.setting("validation-per-class", settings.split.per_class, "images of each training class taken instead");
  options.setting("wordnet", settings.wordnet, "WordNet 3.0's data.noun, for the names of classes");
  options.setting("seed", settings.seed, "of the shuffle and the split");
}

/// What the description says, as settings; a path whose setting is given on the command line is not looked at.
Json described_settings(const Stage& stage) {
  const Json& data = stage.input().dataset;
  const fs::path& folder = stage.input().dataset_folder;
  const std::string where = "the data set's description";
  Json settings = Json::object();
  const auto take_path = [&](const Json& part, const std::string& key, const std::string& setting) {
    if (!part.contains(key) || stage.options.given(setting)) return;
    settings[setting] = described_path(json_member<std::string>(part, key, where), folder).string();
  };
  if (data.contains("train")) take_path(data["train"], "source", "train-source");
  take_path(data, "classes", "classes");
  if (data.contains("validation")) {
    const Json& validation = data["validation"];
    take_path(validation, "source", "validation-source");
    take_path(validation, "ground_truth", "ground-truth");
    if (validation.contains("fraction")) {
      settings["validation-fraction"] = json_member<double>(validation, "fraction", where);
    }
    if (validation.contains("per_class")) {
      settings["validation-per-class"] = json_member<uint64_t>(validation, "per_class", where);
    }
  }
  return settings;
}

std::string absolute(const std::string& text) {
  return text.empty() ? text : fs::absolute(text).lexically_normal().string();
}

ListPlan settle(Stage& stage, Settings& settings) {
  if (!stage.repeats()) stage.options.apply(described_settings(stage), "the data set's description");
  for (std::string* path :
       {&settings.train, &settings.validation, &settings.ground_truth, &settings.classes, &settings.wordnet}) {
    *path = absolute(*path);
  }
  if (settings.train.empty()) {
    throw UsageError({"no source of training images", "the data set's description", "\"train\": {\"source\": ...}"});
  }
  if (!settings.ground_truth.empty() && settings.validation.empty()) {
    throw UsageError({"ground truth, but no validation source that it belongs to", settings.ground_truth, ""});
  }
  if (!settings.validation.empty() && settings.split.wanted()) {
    throw UsageError({"a validation source of its own, and a part of the training images as well", "",
                      "take away --validation-source, or --validation-fraction and --validation-per-class"});
  }
  stage.manifest().settings = stage.options.settings();
  return {settings.train,   settings.validation, settings.ground_truth, settings.classes,
          settings.wordnet, settings.split,      settings.seed};
}

void show_plan(const Stage& stage, const ListPlan& plan) {
  const auto show = [](const char* split, const fs::path& source, Labels labels) {
    const std::string bytes = fs::is_regular_file(source) ? ", " + bytes_text(fs::file_size(source)) : "";
    fmt::print("{:<12}{}: {}{}\n", split, source.string(), kind_of_source(source, labels), bytes);
  };
  show("train", plan.train_source, Labels::by_source);
  if (!plan.validation_source.empty()) {
    show("validation", plan.validation_source, plan.ground_truth.empty() ? Labels::by_source : Labels::elsewhere);
  } else if (plan.split.per_class > 0) {
    fmt::print("validation  {} images of each class, taken from train\n", plan.split.per_class);
  } else {
    fmt::print("validation  {:.3g} % of each class, taken from train\n", 100 * plan.split.fraction);
  }
  fmt::print("classes     {}\n", plan.classes.empty() ? "as found" : plan.classes.string());
  const Json& data = stage.input().dataset;
  if (data.contains("expect") && data["expect"].contains("images")) {
    const auto images = json_member<double>(data["expect"], "images", "expect");
    fmt::print("needs       {} of memory and {} on disk for {} images\n", bytes_text(400 * images),
               bytes_text(90 * images), grouped(static_cast<uint64_t>(images)));
  }
  fmt::print("reads       names and headers only; nothing is unpacked\nwrites      {}\n", stage.out().string());
}

/// Says what a person should know beside the counts.
void report(const Json& data, const Listed& listed) {
  if (!listed.skipped.empty()) log_info("not pictures" + passed_over(listed.skipped));
  if (listed.classes_without_picture > 0) {
    log_warning(grouped(listed.classes_without_picture) + " classes of the table have no training image");
  }
  if (listed.lists.classes_spared > 0) {
    log_info(grouped(listed.lists.classes_spared) +
             " classes gave fewer images to validation than asked, as each keeps one for training");
  }
  if (!data.contains("expect")) return;
  const auto compare = [&](const char* what, uint64_t found) {
    if (!data["expect"].contains(what)) return;
    const auto expected = json_member<uint64_t>(data["expect"], what, "the data set's description, expect");
    if (expected != found) {
      log_warning("the description expects " + grouped(expected) + " " + what + "; there are " + grouped(found));
    }
  };
  compare("images", listed.lists.train.size() + listed.lists.validation.size());
  compare("classes", listed.classes.size());
}

/// Writes the lists and the table, and names them in the manifest.
void write_outputs(Stage& stage, const ListPlan& plan, const Listed& listed) {
  const fs::path& out = stage.out();
  StageManifest& manifest = stage.manifest();
  make_folder(out);
  stage.retire_manifest();
  write_image_list(out / "train.lst", listed.lists.train);
  manifest.outputs.push_back(describe_file("train-list", out / "train.lst", listed.lists.train.size()));
  if (!listed.lists.validation.empty()) {
    write_image_list(out / "validation.lst", listed.lists.validation);
    manifest.outputs.push_back(
        describe_file("validation-list", out / "validation.lst", listed.lists.validation.size()));
  }
  listed.classes.save(out / "classes.tsv");
  manifest.outputs.push_back(describe_file("class-table", out / "classes.tsv", listed.classes.size()));
  if (!plan.classes.empty()) manifest.inputs.push_back(describe_file("classes", plan.classes));
  if (!plan.ground_truth.empty()) manifest.inputs.push_back(describe_file("ground-truth", plan.ground_truth));
  manifest.classes_crc32c = listed.classes.crc32c();
  const uint64_t train = listed.lists.train.size(), validation = listed.lists.validation.size();
  uint64_t skipped = 0;
  for (const auto& [what, count] : listed.skipped) skipped += count;
  manifest.counts = {{"listed", train + validation},
                     {"train", train},
                     {"validation", validation},
                     {"classes", listed.classes.size()},
                     {"skipped", skipped}};
}

int run(int argc, char** argv) {
  Settings settings;
  Stage stage("list", kAbout, kExample);
  add_options(stage.options, settings);
  stage.begin(argc, argv, {"dataset"});
  const ListPlan plan = settle(stage, settings);
  if (stage.plan()) {
    show_plan(stage, plan);
    return kExitOk;
  }
  log_info("listing " + plan.train_source.string());
  const Listed listed = make_lists(plan);
  report(stage.input().dataset, listed);
  write_outputs(stage, plan, listed);
  stage.finish(1);
  const Lists& lists = listed.lists;
  fmt::print("listed {} images of {} classes: {} for training, {} for validation, {}\n",
             grouped(lists.train.size() + lists.validation.size()), grouped(listed.classes.size()),
             grouped(lists.train.size()), grouped(lists.validation.size()), duration_text(stage.seconds()));
  return kExitOk;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  return packhorse::run_stage([&] { return packhorse::run(argc, argv); });
}

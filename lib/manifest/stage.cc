#include "manifest/stage.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/path_text.h"
#include "base/schema.h"
#include "base/text.h"
#include "manifest/description.h"
#include "manifest/other_stages.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool is_record_file(const fs::path& path) { return path.extension() == ".rec"; }

/// Settings and names are text, as they stand in descriptions. Refused before any work is done.
void check_text(const std::string& name, const std::string& text) {
  if (is_utf8(text)) return;
  throw UsageError({"'" + name + "' is not text in UTF-8, and could not be recorded", text_of_path(text),
                    "rename it, or give it by a link with another name"});
}

/// A file of records needs no description: its name is that of the data set, and its labels are the classes.
Json description_at(const fs::path& path) {
  if (!is_record_file(path)) return read_json(path);
  const InputFile exists(path);
  check_text("the data set's name", path.stem().string());
  return {{"schema", kDatasetSchema},
          {"name", path.stem().string()},
          {"train", {{"source", exists.path().filename().string()}}}};
}

}  // namespace

Stage::Stage(std::string name, const std::string& about, const std::string& example)
    : options("packhorse-" + name, about, example), name_(std::move(name)) {
  options.tables(stage_names());
  options.argument(
      "manifest", given_,
      "What to start from: the manifest.json of the stage before (for 'list': a data set's description, or a .rec file "
      "of MXNet's im2rec), or this stage's own manifest.json, which repeats its run with the same settings. The folder "
      "of one will do, and a description, if the stage before has run here.");
  options.run_option(
      "out", out_text_,
      "Folder to write to. Default: '" + name_ +
          "' next to the folder of the given manifest (for 'list': runs/NAME/list), or the same folder if "
          "that manifest is this stage's own.");
  options.run_option(
      "name", suffix_,
      "Name of this result among several of one stage: the folder to write to is then '" + name_ + "-NAME'.");
  if (name_ == "train")
    options.run_option("run", run_,
                       "Name of this training among several of one data set: it and what follows from it (evaluate, "
                       "export) stand in a folder of this name.");
  options.run_option("replace", replace_,
                     "Replace a finished result that was made with other settings, once the new one is finished.");
  options.run_option("check-settings", check_settings_,
                     "Check what a data set's description says about this stage, and do nothing.");
  options.run_option("plan", plan_, "Print what the stage would do and what it would need, and do nothing.");
  options.run_option("plan-json", plan_json_, "The same as JSON.");
  options.run_option("print-out", print_out_, "Print the folder that the stage would write to, and do nothing.");
}

void Stage::begin(int argc, char** argv, const std::vector<std::string>& upstream) {
  options.parse(argc, argv);
  for (const auto& [option, name] : {std::pair("--name", suffix_), {"--run", run_}}) {
    if (name.find_first_of("/\\") != std::string::npos || name == "." || name == "..")
      throw UsageError({"a name is one word of a path, not '" + name + "'", option, "use letters, digits and '-'"});
  }
  if (check_settings_) check_settings(given_);
  const fs::path given = given_manifest();
  recognise(given, upstream);
  if (print_out_) {
    fmt::print("{}\n", out_.string());
    throw Answered{};
  }
  take(given);
  manifest_.stage = name_;
  manifest_.command = options.command();
  manifest_.settings = options.settings();
  for (const auto& [name, value] : manifest_.settings.items())
    if (value.is_string()) check_text(name, value.get<std::string>());
  manifest_.dataset = input_.dataset;
  manifest_.dataset_folder = input_.dataset_folder;
  manifest_.classes_crc32c = input_.classes_crc32c;
}

/// The file to start from. A stage's folder stands for its manifest, and a checkpoint for that of its training.
fs::path Stage::given_manifest() {
  fs::path given = fs::absolute(given_).lexically_normal();
  if (fs::is_directory(given)) return given / "manifest.json";
  if (given.extension() == ".h5" && given.parent_path().filename() == "checkpoints") {
    checkpoint_ = given;
    return given.parent_path().parent_path() / "manifest.json";
  }
  return given;
}

/// For a description, if this stage cannot start from one: the result of the stage before.
fs::path Stage::result_before(const std::string& dataset, const std::string& before) const {
  fs::path made = fs::absolute("runs") / dataset / before / "manifest.json";
  if (fs::exists(made)) return made;
  throw UsageError({"'" + name_ + "' starts from the result of '" + before + "', which this data set does not have yet",
                    made.string(), "run " + before + " first: jobs/" + before + ".sbatch " + given_});
}

void Stage::check_settings(const fs::path& description) {
  const Json json = description_at(description);
  if (json.contains("stages") && json.at("stages").contains(name_))
    options.apply(json.at("stages").at(name_), description.string() + ", stages." + name_);
  throw Answered{};
}

/// Reads what was given, which also determines the folder to write to. It opens no other file: --print-out is answered
/// right after this, even if an input is damaged.
void Stage::recognise(const fs::path& given, const std::vector<std::string>& upstream) {
  const auto takes = [&](const std::string& stage) {
    return std::find(upstream.begin(), upstream.end(), stage) != upstream.end();
  };
  const Json json = description_at(given);
  const std::string where = given.string();
  const auto schema = json_member<std::string>(json, "schema", where);
  if (schema.starts_with(kDatasetFormat)) {
    check_schema(schema, kDatasetSchema, "a data set's description", where,
                 std::string("write \"schema\": \"") + kDatasetSchema +
                     "\" and the new names of renamed settings (CHANGELOG.md lists them)");
    check_description(json, where);
    if (!takes("dataset"))
      return recognise(result_before(json_member<std::string>(json, "name", where), upstream.front()), upstream);
    input_.dataset = json;
    input_.dataset_folder = given.parent_path();
    out_ = fs::absolute("runs") / json_member<std::string>(json, "name", where) / run_ /
           (name_ + (suffix_.empty() ? "" : "-" + suffix_));
  } else {
    input_ = StageManifest::load(given);
    repeats_ = input_.stage == name_;
    if (!repeats_ && !takes(input_.stage)) {
      throw UsageError(
          {"'" + name_ + "' cannot start from a manifest of '" + input_.stage + "'", where,
           "give " + (takes("dataset") ? "a data set's description" : "the manifest of " + joined(upstream, " or ")) +
               ", or the manifest of an earlier '" + name_ + "'"});
    }
    const fs::path folder = input_.path.parent_path();
    out_ = repeats_ && run_.empty() && suffix_.empty() ? folder : folder_beside(folder);
  }
  if (!out_text_.empty()) out_ = fs::absolute(out_text_).lexically_normal();
}

/// The folder for what is made of the result in `given`: next to it. If that one has a name of its own
/// ("train-nesterov", "evaluate-last"), this one shares it; and what belongs to a training in a folder of any other
/// name is inside that.
fs::path Stage::folder_beside(const fs::path& given) const {
  const std::string folder = given.filename().string(), &before = input_.stage;
  const fs::path beside = given.parent_path() / run_;
  const auto named = [&](const std::string& own) { return name_ + own + (suffix_.empty() ? "" : "-" + suffix_); };
  if (folder == before) return beside / named("");
  if (folder.starts_with(before + "-")) return beside / named(folder.substr(before.size()));
  const bool of_a_training = before == "train" || before == "evaluate" || before == "export";
  return (of_a_training ? given : beside) / named("");
}

/// Checks and records the inputs, and applies the settings that come with them.
void Stage::take(const fs::path& given) {
  if (!checkpoint_.empty()) options.apply({{"checkpoint", checkpoint_.string()}}, given_);
  if (repeats_) {
    repeated_ = std::exchange(input_, {});
    take_old(repeated_);
    return;  // the old settings are complete: they already include the description's
  }
  if (input_.path.empty())
    check_settings_of_others(name_, input_.dataset.value("stages", Json::object()), given, options.shared_settings());
  if (!input_.path.empty()) manifest_.inputs.push_back(describe_manifest("manifest", input_));
  if (input_.path.empty() && !is_record_file(given)) manifest_.inputs.push_back(describe_file("description", given));
  if (input_.dataset.contains("stages") && input_.dataset["stages"].contains(name_)) {
    options.apply(input_.dataset["stages"][name_], given.string());
  }
}

/// The same for the stage's own old manifest.
void Stage::take_old(const StageManifest& old) {
  options.apply(old.settings, old.path.string());
  // The description may have been edited since: the old manifest has all that this run needs of it.
  for (const FileEntry& entry : old.inputs) {
    if (entry.role != "description") check_input(entry, old);
  }
  if (const FileEntry* const before = old.before(); before != nullptr) {
    input_ = StageManifest::load(before->path);
    manifest_.inputs.push_back(describe_manifest("manifest", input_));
  } else {
    input_.dataset = old.dataset;
    input_.dataset_folder = old.dataset_folder;
    if (!old.inputs.empty() && old.inputs.front().role == "description") manifest_.inputs.push_back(old.inputs.front());
  }
}

std::optional<StageManifest> Stage::finished() const {
  complete_commit(out_);
  if (!fs::exists(out_ / "manifest.json")) return std::nullopt;
  StageManifest found = StageManifest::load(out_ / "manifest.json");
  if (found.stage != name_) {
    throw UsageError(
        {"the output folder holds the results of stage '" + found.stage + "'", out_.string(), "choose another --out"});
  }
  return found;
}

std::optional<StageManifest> Stage::already_made() const {
  auto result = finished();
  if (!result || replace_ || repeats_ || !settings_unlike(*result, false).empty()) return std::nullopt;
  const auto used = [&](const FileEntry& input) {
    return std::any_of(result->inputs.begin(), result->inputs.end(), [&](const FileEntry& entry) {
      return entry.role == input.role && (input.results ? entry.results == input.results
                                                        : entry.crc32c == input.crc32c && entry.bytes == input.bytes);
    });
  };
  const auto there = [](const FileEntry& output) {
    std::error_code missing;
    return fs::file_size(output.path, missing) == output.bytes && !missing;
  };
  const bool same = std::all_of(manifest_.inputs.begin(), manifest_.inputs.end(), used) &&
                    std::all_of(result->outputs.begin(), result->outputs.end(), there);
  return same ? result : std::nullopt;
}

/// The settings that differ from those of a result; only those of the command line, if `typed`.
std::vector<std::string> Stage::settings_unlike(const StageManifest& result, bool typed) const {
  std::vector<std::string> names;
  for (const auto& [name, value] : manifest_.settings.items()) {
    const bool same = result.settings.contains(name) && result.settings.at(name) == value;
    if (!same && (!typed || options.given(name))) names.push_back("--" + name);
  }
  return names;
}

PlannedReplacement Stage::planned_replacement() const {
  const auto result = finished();
  if (!result) return {};
  const auto others = settings_unlike(*result, false);
  const std::string found = "a finished result of " + result->ended;
  if (others.empty()) return {"same", found + " with the same settings, which is made again"};
  const std::string unlike = found + " with other settings (" + joined(others) + "), which ";
  if (replace_ || settings_unlike(*result, true).empty()) return {"other", unlike + "is replaced"};
  return {"refused", unlike + "stays: give --name NAME, another --out, or --replace"};
}

void Stage::print_plan(const StagePlan& plan, const std::optional<PlannedReplacement>& replacement) const {
  const PlannedReplacement before = replacement ? *replacement : planned_replacement();
  fmt::print("{}", plan_json_ ? plan.json_text(name_, out_, before) : plan.text(name_, out_, before));
}

/// A description or another input may have changed, and its results follow. A setting that was typed may be a mistake.
void Stage::refuse_other_settings() const {
  const auto result = finished();
  if (!result || replace_) return;
  const auto names = settings_unlike(*result, true);
  if (names.empty()) return;
  throw UsageError({"there is a finished result that was made with other settings (" + joined(names) + ")",
                    out_.string(), "keep both with --name NAME or another --out, or replace it with --replace"});
}

void Stage::own(std::vector<ProcessId> ranks) {
  own_for_any_settings(std::move(ranks));
  refuse_other_settings();
}

void Stage::own_for_any_settings(std::vector<ProcessId> ranks) {
  folder_ = std::make_unique<OutputFolder>(out_, name_, std::move(ranks));
}

void Stage::finish(int ranks) {
  manifest_.seconds = seconds();
  manifest_.ranks = ranks;
  const fs::path work = folder_->work();
  std::vector<fs::path> outdated;
  if (const auto old = finished()) {
    manifest_.history = old->history;
    manifest_.history.push_back({{"command", old->command},
                                 {"version", old->version},
                                 {"host", old->host},
                                 {"ended", old->ended},
                                 {"results_crc32c", crc32c_text(old->results_crc32c())}});
    if (old->results_crc32c() == manifest_.results_crc32c())
      log_info("the result is the same as before, byte for byte");
    else if (repeats_ && old->settings == manifest_.settings)
      log_warning("the result is not the same as before, though the settings are: it was made by version " +
                  old->version + " on " + old->host + (old->backend.empty() ? "" : " with " + old->backend));
    for (const FileEntry& entry : old->outputs) {
      const fs::path inside = entry.path.lexically_relative(out_);
      if (!inside.empty() && *inside.begin() != ".." && !fs::exists(work / inside)) outdated.push_back(entry.path);
    }
  }
  for (FileEntry& entry : manifest_.outputs) {
    const fs::path inside = entry.path.lexically_relative(work);
    if (!inside.empty() && *inside.begin() != "..") entry.path = out_ / inside;
  }
  manifest_.save(work, out_);
  folder_->commit(outdated);
}

fs::path described_path(const std::string& text, const fs::path& folder) {
  std::string full;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find("${", at);
    const size_t close = open == std::string::npos ? open : text.find('}', open);
    if (close == std::string::npos) {
      full += text.substr(at);
      break;
    }
    const std::string variable = text.substr(open + 2, close - open - 2);
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') {
      throw Error({"the environment variable " + variable + " is not set", text,
                   "export " + variable + "=... (the place of the images), or give the path on the command line"});
    }
    full += text.substr(at, open - at) + value;
    at = close + 1;
  }
  return (fs::path(full).is_absolute() ? fs::path(full) : folder / full).lexically_normal();
}

fs::path settle_path(Stage& stage, const std::string& setting, const std::string& text) {
  const fs::path home = stage.manifest().dataset_folder;
  fs::path path = described_path(text, stage.options.given(setting) ? fs::current_path() : home);
  const fs::path from_home = fs::proximate(path, home);
  const bool stays = fs::path(text).is_absolute() || text.find("${") != std::string::npos;
  const std::string recorded = (stays && *from_home.begin() == ".." ? path : from_home).generic_string();
  check_text(setting, recorded);
  stage.manifest().settings[setting] = recorded;
  return path;
}

}  // namespace packhorse

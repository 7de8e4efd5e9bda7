#include "manifest/stage.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/schema.h"
#include "base/text.h"

namespace packhorse {
namespace fs = std::filesystem;

Stage::Stage(std::string name, const std::string& about, const std::string& example)
    : options("packhorse-" + name, about, example), name_(std::move(name)) {
  options.argument("manifest", given_,
                   "What to start from: the manifest.json of the stage before (for 'list': a data set's description), "
                   "or this stage's own manifest.json, which repeats its run with the same settings.");
  options.run_option(
      "out", out_text_,
      "Folder to write to. Default: '" + name_ +
          "' next to the folder of the given manifest (for 'list': runs/NAME/list), or the same folder if "
          "that manifest is this stage's own.");
  options.run_option("plan", plan_, "Print what the stage would do and what it would need, and do nothing.");
  options.run_option("print-out", print_out_, "Print the folder that the stage would write to, and do nothing.");
}

void Stage::begin(int argc, char** argv, const std::vector<std::string>& upstream) {
  options.parse(argc, argv);
  const fs::path given = fs::absolute(given_).lexically_normal();
  recognise(given, upstream);
  if (print_out_) {
    fmt::print("{}\n", out_.string());
    throw Answered{};
  }
  take(given);
  manifest_.stage = name_;
  manifest_.command = options.command();
  manifest_.settings = options.settings();
  manifest_.dataset = input_.dataset;
  manifest_.dataset_folder = input_.dataset_folder;
  manifest_.classes_crc32c = input_.classes_crc32c;
}

/// Reads what was given, which also determines the folder to write to. It opens no other file: --print-out is answered
/// right after this, even if an input is damaged.
void Stage::recognise(const fs::path& given, const std::vector<std::string>& upstream) {
  const auto takes = [&](const std::string& stage) {
    return std::find(upstream.begin(), upstream.end(), stage) != upstream.end();
  };
  const Json json = read_json(given);
  const std::string where = given.string();
  const auto schema = json_member<std::string>(json, "schema", where);
  if (schema.starts_with(kDatasetFormat)) {
    check_schema(schema, kDatasetSchema, "a data set's description", where,
                 std::string("write \"schema\": \"") + kDatasetSchema +
                     "\" and the new names of renamed settings (CHANGELOG.md lists them)");
    if (!takes("dataset")) {
      throw UsageError({"'" + name_ + "' starts from a manifest, not from a data set's description", where,
                        "run the stage before it, then give its manifest.json"});
    }
    input_.dataset = json;
    input_.dataset_folder = given.parent_path();
    out_ = fs::absolute("runs") / json_member<std::string>(json, "name", where) / name_;
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
    out_ = repeats_ ? folder : folder.parent_path() / name_;
  }
  if (!out_text_.empty()) out_ = fs::absolute(out_text_).lexically_normal();
}

/// Checks and records the inputs, and applies the settings that come with them.
void Stage::take(const fs::path& given) {
  if (repeats_) {
    take_old(std::exchange(input_, {}));
    return;  // the old settings are complete: they already include the description's
  }
  manifest_.inputs.push_back(input_.path.empty() ? describe_file("description", given)
                                                 : describe_manifest("manifest", input_));
  if (input_.dataset.contains("stages") && input_.dataset["stages"].contains(name_)) {
    options.apply(input_.dataset["stages"][name_], given.string());
  }
}

/// The same for the stage's own old manifest.
void Stage::take_old(const StageManifest& old) {
  options.apply(old.settings, old.path.string());
  // The description may have been edited since: the old manifest has all that this run needs of it.
  for (const FileEntry& entry : old.inputs) {
    if (entry.role != "description") check_file(entry, old.path, true);
  }
  const auto before = std::find_if(old.inputs.begin(), old.inputs.end(),
                                   [](const FileEntry& entry) { return entry.role == "manifest"; });
  if (before != old.inputs.end()) {
    input_ = StageManifest::load(before->path);
    manifest_.inputs.push_back(describe_manifest("manifest", input_));
  } else {
    input_.dataset = old.dataset;
    input_.dataset_folder = old.dataset_folder;
    if (!old.inputs.empty()) manifest_.inputs.push_back(old.inputs.front());
  }
}

bool Stage::retire_manifest() {
  const fs::path path = out_ / "manifest.json";
  if (!fs::exists(path)) return false;
  if (repeats_ && StageManifest::load(path).settings == manifest_.settings) return true;
  fs::remove(path);
  return false;
}

void Stage::finish(int ranks) {
  manifest_.seconds = seconds();
  manifest_.ranks = ranks;
  manifest_.save(out_);
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
  stage.manifest().settings[setting] = fs::proximate(path, home).generic_string();
  return path;
}

}  // namespace packhorse

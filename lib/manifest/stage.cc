#include "manifest/stage.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"

namespace packhorse {
namespace fs = std::filesystem;

Stage::Stage(std::string name, const std::string& about, const std::string& example)
    : options("packhorse-" + name, about, example), name_(std::move(name)) {
  options.argument("manifest", given_,
                   "a data set's description, the manifest of the stage before, or this stage's own");
  options.run_option("out", out_text_, "folder to write to (default: beside what was given)");
  options.run_option("plan", plan_, "say what would be done and what it needs, and do nothing");
}

void Stage::begin(int argc, char** argv, const std::vector<std::string>& upstream) {
  options.parse(argc, argv);
  take(fs::absolute(given_).lexically_normal(), upstream);
  if (!out_text_.empty()) out_ = fs::absolute(out_text_).lexically_normal();
  manifest_.stage = name_;
  manifest_.command = options.command();
  manifest_.settings = options.settings();
  manifest_.dataset = input_.dataset;
  manifest_.dataset_folder = input_.dataset_folder;
  manifest_.classes_crc32c = input_.classes_crc32c;
}

void Stage::take(const fs::path& given, const std::vector<std::string>& upstream) {
  const Json json = read_json(given);
  const std::string where = given.string();
  const auto schema = json_member<std::string>(json, "schema", where);

  if (schema == kDatasetSchema) {
    if (std::find(upstream.begin(), upstream.end(), "dataset") == upstream.end()) {
      throw UsageError({"'" + name_ + "' starts from a manifest, not from a data set's description", where,
                        "run the stage before it, then give its manifest.json"});
    }
    input_.dataset = json;
    input_.dataset_folder = given.parent_path();
    out_ = fs::absolute("runs") / json_member<std::string>(json, "name", where) / name_;
    manifest_.inputs.push_back(describe_file("description", given));
  } else if (StageManifest old = StageManifest::load(given); old.stage == name_) {
    repeats_ = true;
    options.apply(old.settings, where);
    // The description may have been edited since: what this run needs of it stands in the old manifest.
    for (const FileEntry& entry : old.inputs) {
      if (entry.role != "description") check_file(entry, given, true);
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
    out_ = old.path.parent_path();
    return;  // the old settings are complete: the description's have been weighed in already
  } else {
    if (std::find(upstream.begin(), upstream.end(), old.stage) == upstream.end()) {
      throw UsageError({"'" + name_ + "' cannot start from a manifest of '" + old.stage + "'", where,
                        "packhorse-" + name_ + " --help says which it takes"});
    }
    input_ = std::move(old);
    out_ = input_.path.parent_path().parent_path() / name_;
    manifest_.inputs.push_back(describe_manifest("manifest", input_));
  }
  if (input_.dataset.contains("stages") && input_.dataset["stages"].contains(name_)) {
    options.apply(input_.dataset["stages"][name_], where);
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
                   "export " + variable + "=... (where the images are), or give the path on the command line"});
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

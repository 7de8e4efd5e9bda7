#include "manifest/stage_manifest.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/path_text.h"
#include "base/schema.h"
#include "base/text.h"
#include "base/version.h"
#include "manifest/output_folder.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

Json to_json(const FileEntry& entry, const fs::path& folder) {
  Json json = {{"role", entry.role},
               {"path", text_of_path(fs::proximate(entry.path, folder))},
               {"bytes", entry.bytes},
               {"crc32c", crc32c_text(entry.crc32c)}};
  if (entry.records > 0) json["records"] = entry.records;
  if (entry.results) json["results_crc32c"] = crc32c_text(*entry.results);
  return json;
}

uint32_t crc32c_from(const std::string& text) { return static_cast<uint32_t>(std::stoul(text, nullptr, 16)); }

std::vector<FileEntry> entries_from(const Json& list, const fs::path& manifest) {
  std::vector<FileEntry> entries;
  const std::string where = manifest.string();
  for (const Json& json : list) {
    FileEntry entry;
    entry.role = json_member<std::string>(json, "role", where);
    const fs::path path = path_of_text(json_member<std::string>(json, "path", where));
    entry.path = (manifest.parent_path() / path).lexically_normal();
    entry.bytes = json_member<uint64_t>(json, "bytes", where);
    entry.crc32c = crc32c_from(json_member<std::string>(json, "crc32c", where));
    if (json.contains("results_crc32c")) {
      entry.results = crc32c_from(json_member<std::string>(json, "results_crc32c", where));
    }
    if (json.contains("records")) entry.records = json_member<uint64_t>(json, "records", where);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

StageManifest StageManifest::load(const fs::path& path) {
  if (path.filename() == "manifest.json") complete_commit(path.parent_path());
  const Json json = read_json(path);
  const std::string where = path.string();
  check_schema(json_member<std::string>(json, "schema", where), kStageSchema, "a stage's manifest", where,
               "give the manifest.json of a finished stage, or run the stage again");
  StageManifest manifest;
  manifest.path = fs::absolute(path).lexically_normal();
  try {
    manifest.stage = json_member<std::string>(json, "stage", where);
    manifest.command = json.at("command").get<std::vector<std::string>>();
    manifest.settings = json.at("settings");
    manifest.dataset = json.at("dataset");
    manifest.dataset_folder =
        (manifest.path.parent_path() / path_of_text(json.at("dataset_folder").get<std::string>())).lexically_normal();
    manifest.inputs = entries_from(json.at("inputs"), manifest.path);
    manifest.outputs = entries_from(json.at("outputs"), manifest.path);
    manifest.counts = json.at("counts");
    manifest.classes_crc32c = json.at("classes_crc32c").get<std::string>();
    manifest.seconds = json.at("seconds").get<double>();
    manifest.ranks = json.at("ranks").get<int>();
    // Since version 0.3, and null where nothing was computed or resampled.
    manifest.threads = json.value("threads", 0);
    manifest.history = json.value("history", Json::array());
    manifest.version = json.value("version", "");
    manifest.host = json.value("host", "");
    if (json.contains("slurm_job") && json["slurm_job"].is_string()) manifest.slurm_job = json["slurm_job"];
    manifest.started = json.value("started", "");
    manifest.ended = json.value("ended", "");
    if (const auto backend = json.find("backend"); backend != json.end() && !backend->is_null())
      manifest.backend = backend->get<std::string>();
    if (const auto resampling = json.find("resampling"); resampling != json.end() && !resampling->is_null())
      manifest.resampling = resampling->get<std::string>();
  } catch (const Json::exception& error) {
    throw DamageError(
        {std::string("a member of the stage's manifest is missing or wrong (") + error.what() + ")", where, ""});
  } catch (const std::logic_error& error) {
    throw DamageError(
        {std::string("a checksum field of the stage's manifest is wrong (") + error.what() + ")", where, ""});
  }
  return manifest;
}

void StageManifest::save(const fs::path& folder, const fs::path& to) const {
  const fs::path home = fs::absolute(to).lexically_normal();
  const auto now = std::chrono::system_clock::now();
  const auto began = now - std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  const char* job = std::getenv("SLURM_JOB_ID");
  std::vector<std::string> words = command;  // for people: a word that is no text is written like a path
  for (std::string& word : words)
    if (!is_utf8(word)) word = text_of_path(word);
  Json json = {{"schema", kStageSchema},
               {"stage", stage},
               {"version", kVersion},
               {"command", words},
               {"settings", settings},
               {"counts", counts},
               {"classes_crc32c", classes_crc32c},
               {"inputs", Json::array()},
               {"outputs", Json::array()},
               {"started", utc_text(began)},
               {"ended", utc_text(now)},
               {"seconds", seconds},
               {"ranks", ranks},
               {"threads", threads},
               {"backend", backend.empty() ? Json(nullptr) : Json(backend)},
               {"resampling", resampling.empty() ? Json(nullptr) : Json(resampling)},
               {"host", host_name()},
               {"slurm_job", job != nullptr ? Json(job) : Json(nullptr)},
               {"dataset_folder", text_of_path(fs::proximate(dataset_folder, home))},
               {"dataset", dataset},
               {"history", history}};
  for (const FileEntry& entry : inputs) json["inputs"].push_back(to_json(entry, home));
  for (const FileEntry& entry : outputs) json["outputs"].push_back(to_json(entry, home));
  write_json(folder / "manifest.json", json);
}

uint32_t StageManifest::results_crc32c() const {
  std::string text;
  for (const FileEntry& entry : outputs) {
    if (entry.role == "journal" || entry.role == "skipped") continue;  // no later stage starts from them
    text += entry.role + " " + std::to_string(entry.bytes) + " " + crc32c_text(entry.crc32c) + "\n";
  }
  return crc32c(std::as_bytes(std::span(text)));
}

const FileEntry* StageManifest::before() const {
  const auto found =
      std::find_if(inputs.begin(), inputs.end(), [](const FileEntry& entry) { return entry.role == "manifest"; });
  return found == inputs.end() ? nullptr : &*found;
}

std::vector<FileEntry> StageManifest::outputs_of(const std::string& role) const {
  std::vector<FileEntry> found;
  std::copy_if(outputs.begin(), outputs.end(), std::back_inserter(found),
               [&](const FileEntry& entry) { return entry.role == role; });
  return found;
}

FileEntry StageManifest::output_of(const std::string& role) const {
  const auto found = outputs_of(role);
  if (found.size() != 1) {
    throw Error(
        {"the manifest names " + std::to_string(found.size()) + " outputs with the role '" + role + "', not one",
         path.string(), "give the manifest of a stage that makes it (this one is of '" + stage + "')"});
  }
  return found.front();
}

StageManifest earlier_stage(const StageManifest& manifest, const std::string& stage) {
  StageManifest at = manifest;
  for (int steps = 0; at.stage != stage; ++steps) {
    const FileEntry* const before = at.before();
    if (before == nullptr || steps == kMostStages) {
      throw Error({"no stage '" + stage + "' is among those that led to this manifest", manifest.path.string(),
                   "give the manifest of a later stage"});
    }
    at = StageManifest::load(before->path);
  }
  return at;
}

FileEntry describe_file(const std::string& role, const fs::path& path, uint64_t records) {
  const FileFacts facts = file_facts(path);
  return {role, fs::absolute(path).lexically_normal(), facts.bytes, facts.crc32c, records};
}

FileEntry describe_manifest(const std::string& role, const StageManifest& manifest) {
  FileEntry entry = describe_file(role, manifest.path);
  entry.results = manifest.results_crc32c();
  return entry;
}

void check_input(const FileEntry& input, const StageManifest& made) {
  const FileEntry* const before = made.before();
  const std::string from = before == nullptr ? "its inputs" : before->path.string();
  const std::string hint = "packhorse-" + made.stage + " " + from + " makes it from what is there now";
  if (input.results) {
    const StageManifest now = StageManifest::load(input.path);
    if (now.results_crc32c() == *input.results) return;
    throw OutOfDate({"'" + made.stage + "' is out of date: '" + now.stage +
                         "', from which it was made, has another "
                         "result since",
                     input.path.string(), hint});
  }
  const FileFacts now = file_facts(input.path);
  if (now.bytes == input.bytes && now.crc32c == input.crc32c) return;
  throw OutOfDate(
      {"'" + made.stage + "' is out of date: the file changed since it was made from it", input.path.string(), hint});
}

void check_file(const FileEntry& entry, const fs::path& manifest, bool whole) {
  const std::string hint = "run the stage that makes it again: it changed after " + manifest.string() + " was written";
  const InputFile file(entry.path);
  if (file.bytes() != entry.bytes) {
    throw DamageError(
        {"the file has " + std::to_string(file.bytes()) + " bytes, its manifest says " + std::to_string(entry.bytes),
         entry.path.string(), hint});
  }
  if (!whole) return;
  const uint32_t found = file_facts(entry.path).crc32c;
  if (found != entry.crc32c) {
    throw DamageError(
        {"the file's checksum is " + crc32c_text(found) + ", its manifest says " + crc32c_text(entry.crc32c),
         entry.path.string(), hint});
  }
}

}  // namespace packhorse

// A folder in which tests use the project as a user would: links to jobs/ and the executables, and its own runs/.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "manifest/stage_manifest.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse::test {

class Project {
 public:
  Project() {
    for (const char* name : {"jobs", "slurm", "build", "data_manifests"}) {
      std::filesystem::create_directory_symlink(source_path(name), home_ / name);
    }
  }

  std::filesystem::path operator/(const std::string& name) const { return home_ / name; }

  /// Options to run commands in its folder, as if outside of any SLURM job; `env` is added to the environment.
  RunOptions options(std::map<std::string, std::string> env = {}, int timeout_s = 600) const {
    env.emplace("PACKHORSE_PROGRESS_SECONDS", "1");
    return {.folder = home_.path(),
            .env = std::move(env),
            .unset = {"SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_JOB_NUM_NODES", "SLURM_GPUS_ON_NODE", "PACKHORSE_HOME",
                      "PACKHORSE_SITE", "PACKHORSE_BIN", "PACKHORSE_RANKS", "PACKHORSE_LAUNCHER"},
            .timeout_s = timeout_s};
  }
  RunResult shell(const std::string& script, const std::map<std::string, std::string>& env = {}) const {
    return run_shell(script, options(env));
  }

  /// Writes NAME.json, a description with a short training, and returns the file's name.
  std::string describe(const std::string& name, const Json& train, const Json& validation,
                       const Json& stages = Json::object()) const {
    Json settings = {{"pack", {{"shards", 3}}}, {"train", short_training()}};
    settings.merge_patch(stages);
    write_json(home_ / (name + ".json"), {{"schema", kDatasetSchema},
                                          {"name", name},
                                          {"train", train},
                                          {"validation", validation},
                                          {"stages", settings}});
    return name + ".json";
  }

  /// Settings of a training that takes seconds.
  static Json short_training() {
    return {{"network", "inception-bn-small"},
            {"image-size", 28},
            {"epochs", 1},
            {"global-batch", 32},
            {"warmup-epochs", 0}};
  }

  StageManifest manifest(const std::string& run, const std::string& stage) const {
    return StageManifest::load(home_ / "runs" / run / stage / "manifest.json");
  }

 private:
  TempDir home_;
};

/// The contents of every output of some roles, by file name.
inline std::map<std::string, std::string> contents_of(const StageManifest& manifest,
                                                      const std::vector<std::string>& roles) {
  std::map<std::string, std::string> contents;
  for (const std::string& role : roles) {
    for (const FileEntry& entry : manifest.outputs_of(role)) {
      contents[entry.path.filename().string()] = read_text(entry.path);
    }
  }
  return contents;
}

inline const std::vector<std::string> kListRoles = {"train-list", "validation-list", "class-table"};
inline const std::vector<std::string> kShardRoles = {"train-shard",      "train-index", "validation-shard",
                                                     "validation-index", "class-table", "quarantine"};

inline int64_t count_of(const StageManifest& manifest, const std::string& name) {
  return manifest.counts.value(name, int64_t{-1});
}

}  // namespace packhorse::test

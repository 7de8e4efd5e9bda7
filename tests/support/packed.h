// The output of a pack stage, made without running one: shards, class table, manifest.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "classes/class_table.h"
#include "manifest/stage_manifest.h"
#include "support/shards.h"

namespace packhorse::test {

/// Writes FOLDER/pack/... with training and validation shards; returns the path of its manifest. A training run on it
/// writes to FOLDER/train.
inline std::filesystem::path write_packed(const std::filesystem::path& folder, const MadeShards& training,
                                          const MadeShards& validation) {
  const std::filesystem::path pack = folder / "pack";
  make_folder(pack);
  StageManifest manifest;
  manifest.stage = "pack";
  manifest.command = {"made by a test"};
  manifest.dataset = {{"schema", kDatasetSchema}, {"name", "made"}};
  manifest.dataset_folder = folder;
  const auto add = [&](const std::string& split, const MadeShards& made) {
    for (const ShardPath& path : write_shards(pack, split, made)) {
      const uint64_t records = ShardReader({path}).records();
      manifest.outputs.push_back(describe_file(split + "-shard", path.rec, records));
      manifest.outputs.push_back(describe_file(split + "-index", path.idx));
    }
  };
  add("train", training);
  if (validation.records > 0) add("validation", validation);
  std::vector<ClassEntry> entries;
  entries.reserve(training.classes);
  for (uint32_t label = 0; label < training.classes; ++label) entries.push_back({"c" + std::to_string(label), ""});
  const ClassTable classes(entries);
  classes.save(pack / "classes.tsv");
  manifest.outputs.push_back(describe_file("class-table", pack / "classes.tsv", classes.size()));
  manifest.classes_crc32c = classes.crc32c();
  manifest.counts = {{"packed", training.records + validation.records}};
  manifest.save(pack);
  return pack / "manifest.json";
}

}  // namespace packhorse::test

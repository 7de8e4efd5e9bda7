// What a finished stage leaves behind, and what the next one starts from: `manifest.json` in the stage's folder.
//
// Rules: it is written last, so a folder without one is a stage that is not done; paths in it are relative to it, so a
// run can be moved; every file it names stands there with its bytes and checksum. Grammar: data_manifests/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

inline constexpr const char* kStageSchema = "packhorse/stage/1";
inline constexpr const char* kDatasetSchema = "packhorse/dataset/1";

/// One file that a stage read or made.
struct FileEntry {
  std::string role;  ///< what it is: "train-list", "train-shard", "train-index", "class-table", "checkpoint", ...
  std::filesystem::path path;  ///< absolute in memory, relative to the manifest on disk
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
  uint64_t records = 0;  ///< images or lines in it, where that means something
  /// For an input that is a stage's manifest: StageManifest::results_crc32c() of it.
  std::optional<uint32_t> results{};
};

struct StageManifest {
  std::string stage;                     ///< "list", "pack", "train", ...
  std::vector<std::string> command;      ///< as typed
  Json settings = Json::object();        ///< every setting with the value used
  Json dataset = Json::object();         ///< the data set's description, handed on from stage to stage
  std::filesystem::path dataset_folder;  ///< what relative paths in the description are relative to
  std::vector<FileEntry> inputs;         ///< the first is the manifest or description it was given, where there was one
  std::vector<FileEntry> outputs;
  Json counts = Json::object();  ///< listed, packed, quarantined, ...
  std::string classes_crc32c;    ///< checksum of the class table that the labels belong to
  double seconds = 0;
  int ranks = 1;

  /// Where it was read from, empty for one being made.
  std::filesystem::path path;

  /// Reads a manifest and checks its form; the files it names are not touched.
  static StageManifest load(const std::filesystem::path& path);
  /// Writes `folder/manifest.json`, with version, host, SLURM job and times filled in.
  void save(const std::filesystem::path& folder) const;

  /// Checksum of what the stage made: of its outputs' roles, sizes and checksums. Unlike the manifest's own it is the
  /// same when the stage was run again to the same result. The journal is left out, as it tells times.
  uint32_t results_crc32c() const;

  /// All outputs of one role, in order.
  std::vector<FileEntry> outputs_of(const std::string& role) const;
  /// The single output of a role; throws where there is none.
  FileEntry output_of(const std::string& role) const;
};

/// The manifest of an earlier stage ("pack"), found by going from input to input; throws where none of them is.
StageManifest earlier_stage(const StageManifest& manifest, const std::string& stage);

/// Adds size and checksum to a path. For files just written whose checksum is known, fill FileEntry in place.
FileEntry describe_file(const std::string& role, const std::filesystem::path& path, uint64_t records = 0);

/// The same for a stage's manifest that is read as an input, with its results.
FileEntry describe_manifest(const std::string& role, const StageManifest& manifest);

/// Throws a DamageError unless the file has the size and (with `whole`) the checksum that the manifest states. A
/// manifest that was written anew passes if its results are still the same.
void check_file(const FileEntry& entry, const std::filesystem::path& manifest, bool whole);

}  // namespace packhorse

// What a finished stage leaves behind, and what the next one starts from: `manifest.json` in the stage's folder.
//
// Rules: it is written last, so a folder without one is a stage that is not done; paths in it are relative to it, so a
// run can be moved; for every file it states the size and the checksum. Grammar: data_manifests/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace packhorse {

inline constexpr const char* kStageSchema = "packhorse/stage/2";
inline constexpr const char* kDatasetSchema = "packhorse/dataset/2";
inline constexpr const char* kDatasetFormat = "packhorse/dataset/";  ///< of every schema number

/// One file that a stage read or made.
struct FileEntry {
  std::string role;  ///< what it is: "train-list", "train-shard", "train-index", "class-table", "checkpoint", ...
  std::filesystem::path path;  ///< absolute in memory, relative to the manifest on disk
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
  uint64_t records = 0;  ///< images or lines in it; 0 if it has none
  /// For an input that is a stage's manifest: StageManifest::results_crc32c() of it.
  std::optional<uint32_t> results{};
};

/// A result is not that of the inputs that are there now. It is not damaged.
class OutOfDate : public Error {
 public:
  using Error::Error;
};

struct StageManifest {
  std::string stage;                     ///< "list", "pack", "train", ...
  std::vector<std::string> command;      ///< the command line, word by word
  Json settings = Json::object();        ///< every setting with the value used
  Json dataset = Json::object();         ///< the data set's description, passed on from stage to stage
  std::filesystem::path dataset_folder;  ///< relative paths in the description start here
  std::vector<FileEntry> inputs;         ///< the first is the manifest or description it was given, if any
  std::vector<FileEntry> outputs;
  Json counts = Json::object();  ///< listed, packed, quarantined, ...
  std::string classes_crc32c;    ///< checksum of the class table that the labels belong to
  std::string backend;     ///< what a network was computed with, in words: instructions, libraries; empty without one
  std::string resampling;  ///< kResampling (image/resample.h) of a stage that resampled images; empty otherwise
  double seconds = 0;
  int ranks = 1;
  int threads = 0;  ///< compute threads of each rank, where they decide about the last bits; 0: they do not
  /// The results that were in this place before, oldest first: command, version, host, ended, results_crc32c.
  Json history = Json::array();

  /// Of one that was read: by whom, where and when it was written (UTC); save() fills them in. No job is empty.
  std::string version, host, slurm_job, started, ended;
  /// The file it was read from; empty for one that is being made.
  std::filesystem::path path;

  /// Reads a manifest and checks its form; the files it names are not touched. Completes a stage's last move first, if
  /// the stage was killed in it (output_folder.h).
  static StageManifest load(const std::filesystem::path& path);
  /// Writes `folder/manifest.json`, with version, host, SLURM job and times filled in.
  void save(const std::filesystem::path& folder) const { save(folder, folder); }
  /// The same, for a folder that will be moved to `home`.
  void save(const std::filesystem::path& folder, const std::filesystem::path& home) const;

  /// Checksum of what the stage made: of its outputs' roles, sizes and checksums. Unlike the checksum of the manifest
  /// file, it stays the same if the stage runs again with the same result. The journal is left out because it contains
  /// times.
  uint32_t results_crc32c() const;

  /// The input that is the manifest of the stage before; null if there is none.
  const FileEntry* before() const;
  /// All outputs of one role, in order.
  std::vector<FileEntry> outputs_of(const std::string& role) const;
  /// The single output of a role; throws if there is none, or more than one.
  FileEntry output_of(const std::string& role) const;
};

/// More stages than this do not lead to one another: manifests can be written so that they name each other.
inline constexpr int kMostStages = 16;

/// The manifest of an earlier stage ("pack"), found by following the inputs; throws if there is none.
StageManifest earlier_stage(const StageManifest& manifest, const std::string& stage);

/// Reads the file's size and checksum. If they are known because the file was just written, fill a FileEntry instead.
FileEntry describe_file(const std::string& role, const std::filesystem::path& path, uint64_t records = 0);

/// The same for a stage's manifest that is an input, with `results` filled in.
FileEntry describe_manifest(const std::string& role, const StageManifest& manifest);

/// Throws an OutOfDate if an input of `made` is not what it was made from: a stage's result that was made again, or a
/// file that changed. The message has the command that makes it again.
void check_input(const FileEntry& input, const StageManifest& made);

/// Throws a DamageError unless the file has the size and (with `whole`) the checksum that the manifest states.
void check_file(const FileEntry& entry, const std::filesystem::path& manifest, bool whole);

}  // namespace packhorse

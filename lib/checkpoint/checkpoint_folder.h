// The checkpoints of one run: `step-00001234.h5`, the last few of them, and `best.h5`. The number in the name is that
// of the batches taken.
//
// Rule: a file with its final name is whole. Training continues from the newest checkpoint that is sound; a warning
// names each damaged one, and the one before it is tried.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace packhorse {

class CheckpointFolder {
 public:
  /// Does not touch the disk. `keep` is the number of step checkpoints that prune() leaves, at least one.
  explicit CheckpointFolder(std::filesystem::path folder, int keep = 2);

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path step_path(int64_t step) const;
  std::filesystem::path best_path() const { return folder_ / "best.h5"; }

  /// The steps of the checkpoints in the folder, rising.
  std::vector<int64_t> steps() const;

  /// Calls `load` with the newest checkpoint; if that throws a DamageError, warns and tries the one before it. Returns
  /// the path that was loaded, or nothing if there is no checkpoint. Throws if there are checkpoints and none is sound;
  /// other errors pass through.
  std::optional<std::filesystem::path> load_newest(const std::function<void(const std::filesystem::path&)>& load) const;

  /// Removes all but the newest `keep` checkpoints, and the half-written files of a killed run.
  void prune() const;
  /// Removes every checkpoint, for a run that starts from the beginning.
  void clear() const;

 private:
  std::filesystem::path folder_;
  int keep_;
};

}  // namespace packhorse

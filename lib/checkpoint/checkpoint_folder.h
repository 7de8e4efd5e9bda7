// The checkpoints of one run: `step-00001234.h5`, the last few of them, and `best.h5`.
//
// Rule: a file with its final name is whole. The newest that is also sound is the one to go on from; a damaged one is
// named in a warning and the one before is taken.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace packhorse {

class CheckpointFolder {
 public:
  /// Nothing is touched. `keep` is the number of step checkpoints that prune() leaves, at least one.
  explicit CheckpointFolder(std::filesystem::path folder, int keep = 2);

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path step_path(int64_t step) const;
  std::filesystem::path best_path() const { return folder_ / "best.h5"; }

  /// Steps of the checkpoints that stand there, rising.
  std::vector<int64_t> steps() const;

  /// Calls `load` with the newest checkpoint, and where that throws a DamageError, warns and goes on to the one before.
  /// The path that was loaded, or nothing where there is none; throws where there are some and none is sound. Other
  /// errors pass through.
  std::optional<std::filesystem::path> load_newest(const std::function<void(const std::filesystem::path&)>& load) const;

  /// Removes all but the newest `keep`, and what a killed run left half-written.
  void prune() const;
  /// Removes every checkpoint: a run begins afresh.
  void clear() const;

 private:
  std::filesystem::path folder_;
  int keep_;
};

}  // namespace packhorse

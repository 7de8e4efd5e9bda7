// The folder that a stage writes to. It has one owner at a time, and a finished result is replaced only by a finished
// result, in one move.
//
// The owner writes below work(), which nobody else looks at. commit() moves that into place: one rename makes it the
// folder's `.finished`, and from then on it is the result, whatever happens to this process. What is left is to move
// its files one by one over the old ones; if that is cut short, whoever opens the folder next completes it, readers
// too.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/interrupt.h"
#include "base/process.h"
#include "manifest/folder_lock.h"

namespace packhorse {

class OutputFolder {
 public:
  /// Makes the folder, locks it (see FolderLock), completes what a commit left and removes what dead owners left.
  /// `ranks`: all processes that write here. Until commit() or work_in(), a signal to end removes work() first.
  OutputFolder(std::filesystem::path folder, const std::string& stage, std::vector<ProcessId> ranks);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  /// Without commit(), what is in work() is removed.
  ~OutputFolder();

  /// Made when it is first asked for.
  const std::filesystem::path& work();
  /// Takes the folder itself for work(), or a folder below it that stays if this process ends: for a stage that
  /// continues where it stopped.
  void work_in(const std::filesystem::path& kept);
  /// Moves all that is in work() into the folder, and removes `outdated`, files or folders that the old result had and
  /// the new one has not. manifest.json comes last. Nothing to move if work() is the folder itself.
  void commit(const std::vector<std::filesystem::path>& outdated);

 private:
  void give_back();

  std::filesystem::path folder_, work_;
  bool kept_ = false;
  FolderLock lock_;
  std::unique_ptr<EndOnSignal> on_signal_;
};

/// Completes a commit() that was cut short, if there is one; waits for an owner who is at it. For whoever is about to
/// read the folder's manifest.
void complete_commit(const std::filesystem::path& folder);

}  // namespace packhorse

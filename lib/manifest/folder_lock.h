// Who is at work in a folder: at most one stage, on whatever machine.
//
// On disk, in the folder: `.owner`, JSON: the stage, its processes, its SLURM job, since when. It is made in one piece
// by link(), which is atomic on NFS, Lustre and GPFS too. A process that ends without removing it, killed for example,
// does not keep the folder: the next one finds that the owner is dead and takes over. What tells:
//   - on the same machine the kernel: the owner holds flock() on the file, across containers too;
//   - after a restart of the machine: it has another boot id;
//   - on other machines SLURM: the owner's job has ended, or is this very job, queued again.
// An owner of whom none of this tells anything is taken to be alive; the message says how to free the folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"

namespace packhorse {

class FolderLock {
 public:
  /// Owns nothing.
  FolderLock() = default;
  /// Throws an Error with kExitBusy if another stage is at work there: it says which, where, and since when. If that
  /// one is just ending (its mpirun is gone, some of its ranks are not), waits for it. `ranks`: all processes of this
  /// stage.
  FolderLock(const std::filesystem::path& folder, const std::string& stage, std::vector<ProcessId> ranks);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  /// Gives the folder back.
  ~FolderLock();

  bool held() const { return file_.get() >= 0; }

 private:
  void release();

  std::filesystem::path path_;
  Descriptor file_;
};

}  // namespace packhorse

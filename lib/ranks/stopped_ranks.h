// Ends a job one of whose ranks is stopped (SIGSTOP): the others would wait for it for ever, at full speed.
//
// Each rank watches the next one on its host, by what the kernel says of that process; a rank whose process is stopped
// for 30 seconds (or PACKHORSE_PATIENCE_SECONDS of the environment) is named, and all are ended. If all are stopped, by
// Ctrl-Z or by SLURM, nobody watches, and they go on when they are continued. A rank under a debugger is left alone.
#pragma once

#include <thread>

namespace packhorse {

class World;

class StoppedRanks {
 public:
  /// Collective. Watches until it is destroyed.
  explicit StoppedRanks(World& world);

 private:
  std::jthread watcher_;  // none if this is the only rank of its host
};

}  // namespace packhorse

// A stop request: SIGTERM, SIGUSR1 (SLURM's warning before the time limit) or SIGINT sets a flag. The training loop
// reads it between steps, and all ranks agree on it. A second SIGINT ends the process immediately.
#pragma once

#include <csignal>
#include <vector>

namespace packhorse {

/// Catches the signals during its lifetime. Only one may exist at a time.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;
  bool requested() const;

 private:
  struct Former {
    int signal;
    struct sigaction action;
  };
  std::vector<Former> former_;
};

}  // namespace packhorse

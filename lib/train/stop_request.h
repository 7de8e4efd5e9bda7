// A request to stop: SIGTERM, SIGUSR1 (a job's warning before its time is up) or SIGINT set a flag that the training
// loop reads between steps and agrees on with the other ranks. A second SIGINT ends the process at once.
#pragma once

#include <csignal>
#include <vector>

namespace packhorse {

/// Catches the signals while it lives; one at a time.
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

// A stage that is told to end (Ctrl-C, SIGTERM, a closed terminal) says so and leaves nothing half-written.
#pragma once

#include <functional>
#include <memory>

namespace packhorse {

/// During its lifetime SIGINT, SIGTERM and SIGHUP end the process with a message and code 128 + signal, after
/// `cleanup`, which runs on a thread of its own while the others still work. At most one exists at a time. A training
/// has its own way to stop (train/stop_request.h): signals that are caught already stay with who catches them.
class EndOnSignal {
 public:
  explicit EndOnSignal(std::function<void()> cleanup);
  ~EndOnSignal();
  EndOnSignal(const EndOnSignal&) = delete;
  EndOnSignal& operator=(const EndOnSignal&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse

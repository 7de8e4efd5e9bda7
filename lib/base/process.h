// Processes that other processes ask about: who they are, and whether they still run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"

namespace packhorse {

/// One process, for as long as there are processes: a number that was given to another process since is not this one.
struct ProcessId {
  std::string host;
  std::string machine;  ///< /etc/machine-id; empty where there is none
  std::string boot;     ///< id of the kernel's start: equal for all containers of a machine, other after a reboot
  std::string space;    ///< the namespace that `pid` counts in
  int64_t pid = 0;
  int64_t started = 0;  ///< in clock ticks since the kernel's start

  bool operator==(const ProcessId&) const = default;
};

ProcessId this_process();
/// The process that started this one: a shell, mpirun, slurmstepd.
ProcessId parent_process();

/// Whether it still runs, as far as that can be told here: nothing for a process of another machine or of another
/// container.
std::optional<bool> runs(const ProcessId& process);

Json to_json(const ProcessId& process);
/// Throws as json_member().
ProcessId process_from(const Json& json, const std::string& where);

}  // namespace packhorse

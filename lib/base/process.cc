#include "base/process.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/host.h"

namespace packhorse {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string link_of(const std::string& path) {
  std::error_code none;
  return std::filesystem::read_symlink(path, none).string();
}

/// When a process started; 0 if there is none of this number, or only its remains.
int64_t start_of(int64_t pid) {
  const std::string text = text_of("/proc/" + std::to_string(pid) + "/stat");
  // The second field is the program's name in parentheses, which may hold anything.
  const size_t name_ends = text.rfind(')');
  if (name_ends == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_ends + 1));
  std::string state, skipped;
  fields >> state;
  if (state == "Z" || state == "X") return 0;
  constexpr int kBetween = 18;  // from the state, the third field, to the start, the 22nd
  for (int i = 0; i < kBetween; ++i) fields >> skipped;
  int64_t start = 0;
  fields >> start;
  return start;
}

ProcessId process(int64_t pid) {
  return {host_name(),
          text_of("/etc/machine-id"),
          text_of("/proc/sys/kernel/random/boot_id"),
          link_of("/proc/self/ns/pid"),
          pid,
          start_of(pid)};
}

}  // namespace

ProcessId this_process() { return process(getpid()); }
ProcessId parent_process() { return process(getppid()); }

std::optional<bool> runs(const ProcessId& asked) {
  const ProcessId here = this_process();
  if (asked.boot == here.boot) {
    if (asked.space != here.space) return std::nullopt;
    const int64_t start = start_of(asked.pid);
    return start != 0 && start == asked.started;
  }
  // This machine has started again since.
  const bool same_machine = !here.machine.empty() && asked.machine == here.machine && asked.host == here.host;
  return same_machine ? std::optional(false) : std::nullopt;
}

Json to_json(const ProcessId& process) {
  return {{"host", process.host},   {"machine", process.machine}, {"boot", process.boot},
          {"space", process.space}, {"pid", process.pid},         {"started", process.started}};
}

ProcessId process_from(const Json& json, const std::string& where) {
  return {json_member<std::string>(json, "host", where), json_member<std::string>(json, "machine", where),
          json_member<std::string>(json, "boot", where), json_member<std::string>(json, "space", where),
          json_member<int64_t>(json, "pid", where),      json_member<int64_t>(json, "started", where)};
}

}  // namespace packhorse

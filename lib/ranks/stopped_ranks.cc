#include "ranks/stopped_ranks.h"

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "ranks/world.h"

namespace packhorse {
namespace {

constexpr int kPatienceSeconds = 30;

int patience() {
  const char* text = std::getenv("PACKHORSE_PATIENCE_SECONDS");
  const int seconds = text == nullptr ? 0 : std::atoi(text);
  return seconds > 0 ? seconds : kPatienceSeconds;
}

/// Whether the process was stopped by a signal; false if it has ended.
bool is_stopped(const ProcessId& process) {
  std::ifstream file("/proc/" + std::to_string(process.pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The state follows the program's name, which is in parentheses and may hold anything.
  const size_t name_ends = text.rfind(')');
  return name_ends != std::string::npos && text.substr(name_ends + 1, 2) == " T" && runs(process).value_or(false);
}

/// The next rank on this host; nothing if there is no other.
std::optional<int> next_on_host(const std::vector<ProcessId>& all, int rank) {
  const auto size = static_cast<int>(all.size());
  const ProcessId& self = all[static_cast<size_t>(rank)];
  for (int step = 1; step < size; ++step) {
    const int other = (rank + step) % size;
    const ProcessId& process = all[static_cast<size_t>(other)];
    if (process.boot == self.boot && process.space == self.space) return other;
  }
  return std::nullopt;
}

/// Returns when it is asked to; ends the job if the process is stopped.
void watch(const std::stop_token& end, int rank, const ProcessId& process) {
  const int limit = patience();
  std::mutex mutex;
  std::condition_variable_any wakes;
  // Seconds of this thread: while it is stopped itself, none pass.
  for (int stopped = 0; stopped < limit;) {
    std::unique_lock lock(mutex);
    if (wakes.wait_for(lock, end, std::chrono::seconds(1), [] { return false; }); end.stop_requested()) return;
    stopped = is_stopped(process) ? stopped + 1 : 0;
  }
  log_error(
      "rank " + std::to_string(rank) + " (process " + std::to_string(process.pid) + " on " + process.host +
      ") is stopped for " + counted(static_cast<uint64_t>(limit), "second") +
      ", and all others wait for it: the job ends\n  try: find out who sent it SIGSTOP; the same command continues");
  kill(static_cast<pid_t>(process.pid), SIGKILL);  // what asks it politely waits for ever, too
  World::abort(kExitFailure);
}

}  // namespace

StoppedRanks::StoppedRanks(World& world) {
  Json list = Json::array();
  for (const ProcessId& process : world.processes()) list.push_back(to_json(process));
  std::vector<ProcessId> all;
  for (const Json& process : Json::parse(world.broadcast(list.dump()))) all.push_back(process_from(process, "a rank"));
  const auto next = next_on_host(all, world.rank());
  if (!next) return;
  watcher_ = std::jthread([rank = *next, process = all[static_cast<size_t>(*next)]](const std::stop_token& end) {
    watch(end, rank, process);
  });
}

}  // namespace packhorse

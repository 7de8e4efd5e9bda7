#include "base/cores.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace packhorse {

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return std::max(1, CPU_COUNT(&set));
}

CoreShare share_cores(int local_ranks) {
  const int mine = available_cores();
  const int host = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const bool bound = mine * local_ranks <= host;
  const int cores = bound ? mine : std::max(1, mine / local_ranks);
  // Training on the CPU is limited by compute: the feed's threads use the same cores, and only when a batch is due.
  return {.compute = cores, .feed = cores};
}

void let_waiting_threads_sleep(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::error_code code;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code || setenv("OMP_WAIT_POLICY", "passive", 1) != 0) return;  // the program is slower then, but correct
  execv(self.c_str(), argv);
}

}  // namespace packhorse

// Which threads may use which cores. One process has several pools of threads (the compute library's, the feed's, the
// communication thread). This file decides their shares, once, so that they do not compete for the same cores.
#pragma once

namespace packhorse {

struct CoreShare {
  int compute = 1;  ///< threads of the compute library (OpenMP)
  int feed = 1;     ///< threads that read, decode and augment (TBB)
};

/// Number of cores that this process may run on (its affinity mask, which a job's allocation or `mpirun` sets).
int available_cores();

/// This rank's share if `local_ranks` ranks run on this host. If the launcher bound each rank to its own cores, the
/// share is these cores. If all ranks see the same cores, they are divided evenly, at least one for each rank.
CoreShare share_cores(int local_ranks);

/// Makes OpenMP's threads sleep while they wait for each other, instead of spinning on cores that the feed's threads
/// need (otherwise, with two threads of each kind on two cores, steps are ten times slower). OpenMP reads this setting
/// when a program is loaded, so the program executes itself again, once; call this first in main. It does nothing if
/// OMP_WAIT_POLICY or GOMP_SPINCOUNT is set in the environment.
void let_waiting_threads_sleep(char** argv);

}  // namespace packhorse

// Who may use which cores. One process has several pools of threads (the compute library's, the feed's, the
// communication thread); their shares are decided here, once, so that they do not fight over the same cores.
#pragma once

namespace packhorse {

struct CoreShare {
  int compute = 1;  ///< threads of the compute library (OpenMP)
  int feed = 1;     ///< threads that read, decode and augment (TBB)
};

/// Cores that this process may run on (its affinity mask, which a job's allocation or `mpirun` has set).
int available_cores();

/// This rank's share where `local_ranks` ranks live on this host. Where the launcher bound each rank to cores of its
/// own, those are the share; where all ranks see the same cores, they are divided evenly, at least one each.
CoreShare share_cores(int local_ranks);

/// Makes OpenMP's threads sleep while they wait for each other, instead of spinning on cores that the feed's threads
/// need (with two threads each on two cores, steps are ten times slower otherwise). OpenMP reads that wish when a
/// program is loaded, so this one is loaded anew, once; call it first in main. OMP_WAIT_POLICY or GOMP_SPINCOUNT in the
/// environment overrule it.
void let_waiting_threads_sleep(char** argv);

}  // namespace packhorse

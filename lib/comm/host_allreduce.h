// Sums over the ranks in host memory, with MPI, on a thread of their own.
#pragma once

#include <memory>

#include "device/allreduce.h"
#include "ranks/world.h"

namespace packhorse {

/// The thread sleeps briefly while messages are on their way, because a rank may have only one core. With one rank it
/// does nothing and has no thread. `world` must outlive it.
std::unique_ptr<Allreduce> make_host_allreduce(World& world);

}  // namespace packhorse

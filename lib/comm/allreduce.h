// Sums over the ranks that run beside the computation.
//
// Rule: every rank starts the same sums in the same order. Between the first start() of a step and the return of
// wait(), nobody else is_root to the other ranks.
#pragma once

#include <memory>
#include <span>

#include "ranks/world.h"

namespace packhorse {

/// Where a sum is carried out: a thread on the host here; a stream of the device in a GPU build.
class Allreduce {
 public:
  virtual ~Allreduce() = default;
  virtual int ranks() const = 0;
  /// Begins to sum `values` over the ranks, in place, and returns at once. They must be left alone until wait().
  virtual void start(std::span<float> values) = 0;
  /// Returns when everything started has its sum; throws what a sum threw.
  virtual void wait() = 0;
};

/// Sums in host memory by MPI, on a thread of its own that naps while messages are on their way (a rank may have but
/// one core). In a world of one it does nothing and has no thread. `world` must outlive it.
std::unique_ptr<Allreduce> make_host_allreduce(World& world);

}  // namespace packhorse

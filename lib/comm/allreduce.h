// Sums over the ranks that run at the same time as the computation.
//
// Rule: every rank starts the same sums in the same order. Between the first start() of a step and the return of
// wait(), nothing else communicates with the other ranks.
#pragma once

#include <memory>
#include <span>

#include "ranks/world.h"

namespace packhorse {

/// What computes the sums: a thread on the host here, a stream of the device in a GPU build.
class Allreduce {
 public:
  virtual ~Allreduce() = default;
  virtual int ranks() const = 0;
  /// Starts to sum `values` over the ranks, in place, and returns at once. Do not touch them until wait() returns.
  virtual void start(std::span<float> values) = 0;
  /// Returns when all started sums are complete; rethrows the exception of a sum that failed.
  virtual void wait() = 0;
};

/// Sums in host memory with MPI, on a thread of its own, which sleeps briefly while messages are on their way, because
/// a rank may have only one core. With one rank it does nothing and has no thread. `world` must outlive it.
std::unique_ptr<Allreduce> make_host_allreduce(World& world);

}  // namespace packhorse

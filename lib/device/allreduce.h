// Sums over the ranks that run at the same time as the computation: what computes them is the lane of the sums. The
// room comm has it: a thread for host memory.
//
// Rule: every rank starts the same sums in the same order. Between the first start() of a step and the return of
// wait(), nothing else communicates with the other ranks.
#pragma once

#include <span>

namespace packhorse {

class Allreduce {
 public:
  virtual ~Allreduce() = default;
  virtual int ranks() const = 0;
  /// Starts to sum `values` over the ranks, in place, and returns at once. Do not touch them until wait() returns.
  virtual void start(std::span<float> values) = 0;
  /// Returns when all started sums are complete; rethrows the exception of a sum that failed.
  virtual void wait() = 0;
};

}  // namespace packhorse

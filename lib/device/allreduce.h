// Sums over the ranks, as work of a stream beside the computation. The room comm has what computes them: a thread for
// host memory.
//
// Rule: every rank enqueues the same sums in the same order. From the first sum of a step until all of its sums are
// done, no other thread communicates with the other ranks.
#pragma once

#include <cstdint>

#include "device/device.h"

namespace packhorse {

class Allreduce {
 public:
  virtual ~Allreduce() = default;
  virtual int ranks() const = 0;
  /// The stream of the sums: it waits for events of the device's streams, and they for its events.
  virtual Stream& stream() = 0;
  /// True if a device may record its sums and replay them (Device::repeat()).
  virtual bool repeats() const { return false; }
  /// Enqueues on stream(): the sum of `count` f32 over the ranks, in place. Sums may overlap in time. Whoever waits for
  /// an event behind it gets the exception of a sum that failed.
  virtual void enqueue(DeviceAddress values, int64_t count) = 0;
};

}  // namespace packhorse

// Which lane a node runs on, and the streams of the lanes.
#pragma once

#include <array>
#include <memory>

#include "device/allreduce.h"
#include "device/device.h"
#include "ops/program.h"

namespace packhorse {

/// Sums over ranks go to their lane; everything else stays on the main lane, or what can run beside it goes to the side
/// lane: gradients of weights, which nobody reads before the update; and of the branches that a concatenation or a sum
/// joins, the one with the second most arithmetic, with its gradient.
void assign_lanes(Program& program, bool side_lane);

/// A stream for each lane.
class LaneStreams {
 public:
  /// `beside`: a device may run them beside the thread that enqueues. `sums`: has the stream of the sums; null: one
  /// rank, whose sums are its own values. Both must outlive it.
  LaneStreams(Device& device, bool beside, Allreduce* sums);
  Stream& of(Lane lane) const { return *streams_[static_cast<size_t>(lane)]; }
  Allreduce* sums() const { return sums_; }

 private:
  Allreduce* sums_;
  std::array<std::unique_ptr<Stream>, kLanes> owned_;
  std::array<Stream*, kLanes> streams_{};
};

}  // namespace packhorse

// Where the pixels and labels of a run lie for the device. A host's kernels read the caller's memory; another device
// has a few slots, which are written on the lane of the copies while earlier runs still compute.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/device.h"
#include "ops/backend.h"
#include "ops/lanes.h"

namespace packhorse {

/// What a run is given, in the host's memory: HostMemory of the device, or memory that stays until the run has ended.
struct StepInput {
  std::span<const uint8_t> pixels{};  ///< (N, S, S, 3), 8-bit RGB; inference takes fewer than N images too
  std::span<const int32_t> labels{};  ///< (N); an image with a label < 0 is not counted
  float gradient_scale = 1;           ///< the gradient is d(sum of losses) * gradient_scale
  double learning_rate = 0;
  int64_t step = 0;  ///< steps before this one: with a seed, it addresses random numbers
};

class InputSlots {
 public:
  /// For up to `slots` runs at a time, each with up to `pixel_bytes` bytes of pixels and `labels` labels.
  InputSlots(Device& device, const LaneStreams& lanes, size_t slots, size_t pixel_bytes, size_t labels);

  /// The call of a run; the main lane waits until its input is there. Then enqueue the run, then call leave().
  StepCall enter(const StepInput& input, int64_t image_bytes);
  /// The run that enter() was called for is enqueued.
  void leave();
  /// Done when the device needs the caller's memory of the last run no more.
  Event& taken();

 private:
  struct Slot {
    DeviceMemory pixels, labels;
    std::unique_ptr<Event> taken, left;
  };
  void copy(const StepInput& input, Slot& slot, StepCall& call);

  bool host_;
  const LaneStreams& lanes_;
  std::vector<Slot> slots_;
  size_t next_ = 0, last_ = 0;
};

}  // namespace packhorse

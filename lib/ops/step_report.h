// The result of a step. A device writes it, so it is plain numbers.
#pragma once

#include <cstdint>

namespace packhorse {

/// The result of a step, over all ranks.
struct StepReport {
  double loss_sum = 0;   ///< cross entropy summed over the counted images, label smoothing included
  uint64_t counted = 0;  ///< images with a label
  uint64_t top1 = 0, top5 = 0;
  double squares = 0;    ///< squared length of the gradient
  bool applied = true;   ///< false: the loss, or with loss scaling the gradient, was not finite: nothing changed
  float loss_scale = 1;  ///< of the next step
  int64_t updates_at_scale = 0;  ///< since the loss scale changed
  double exposed_seconds = 0;    ///< time of the sums over ranks that backward did not hide, on this rank
};

}  // namespace packhorse

// The learning rate as a function of the step, so that a resumed run needs only the step's number.
#pragma once

#include <cstdint>
#include <vector>

namespace packhorse {

struct LearningRateSchedule {
  enum class Kind { cosine, multi_step };
  Kind kind = Kind::cosine;
  double base = 0.1;                ///< for the whole global batch
  int64_t warmup_steps = 0;         ///< linear rise from base / warmup_steps to base
  int64_t total_steps = 1;          ///< cosine: the step at which it reaches zero
  std::vector<int64_t> milestones;  ///< multi-step: from each of these steps on, times `factor`
  double factor = 0.1;

  /// The learning rate of step `step` (from 0).
  double at(int64_t step) const;
};

}  // namespace packhorse

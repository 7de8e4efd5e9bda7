// The learning rate: a function of the step, so that a resumed run needs nothing but the step's number.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace packhorse {

struct LearningRateSchedule {
  enum class Kind { cosine, multi_step };
  Kind kind = Kind::cosine;
  double base = 0.1;                ///< for the whole global batch
  int64_t warmup_steps = 0;         ///< linear from base / warmup_steps up to base
  int64_t total_steps = 1;          ///< cosine: where it reaches zero
  std::vector<int64_t> milestones;  ///< steps: from each of these on, times `factor`
  double factor = 0.1;

  /// The rate that step `step` (from 0) uses.
  double at(int64_t step) const;
};

}  // namespace packhorse

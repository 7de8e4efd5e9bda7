#include "step/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace packhorse {

double LearningRateSchedule::at(int64_t step) const {
  if (step < warmup_steps) return base * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == Kind::cosine) {
    const double length = static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
    const double passed = std::min(1.0, static_cast<double>(step - warmup_steps) / length);
    return base * 0.5 * (1 + std::cos(std::numbers::pi * passed));
  }
  const auto passed = std::count_if(milestones.begin(), milestones.end(), [&](int64_t at) { return step >= at; });
  return base * std::pow(factor, static_cast<double>(passed));
}

}  // namespace packhorse

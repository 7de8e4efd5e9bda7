// Kernels that every backend in host memory has alike: between a call and the step's few words.
#pragma once

#include <cmath>

#include "ops/backend.h"
#include "ops/nodes.h"

namespace packhorse {

template <typename Context>
Run bind_finite(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), squares = site.array<double>("squares"),
          finite = site.array<int32_t>("finite")](const StepCall&) {
    const bool loss = std::isfinite(words[kWordLoss] / words[kWordCounted]);
    *finite = loss && (squares == nullptr || std::isfinite(*squares)) ? 1 : 0;
  };
}

template <typename Context>
Run bind_loss_scale(Context& /*context*/, const Site& site) {
  return [old = site.array<float>("loss_scale"), next = site.array<float>("new_loss_scale"),
          finite = site.array<int32_t>("finite"),
          interval = static_cast<float>(site.node().number("interval"))](const StepCall&) {
    float factor = old[kLossScaleFactor], updates = old[kLossScaleUpdates] + static_cast<float>(*finite);
    const bool halve = *finite == 0 && factor > 1, twice = updates >= interval && factor < kGreatestLossScale;
    if (interval > 0 && (halve || twice)) {
      factor = halve ? factor / 2 : factor * 2;
      updates = 0;
    }
    next[kLossScaleFactor] = factor;
    next[kLossScaleUpdates] = updates;
  };
}

template <typename Context>
Run bind_report(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), squares = site.array<double>("squares"),
          finite = site.array<int32_t>("finite"), scale = site.array<float>("loss_scale")](const StepCall& call) {
    if (call.report == nullptr) return;
    call.report->applied = *finite != 0;
    if (scale != nullptr) {
      call.report->loss_scale = scale[kLossScaleFactor];
      call.report->updates_at_scale = static_cast<int64_t>(scale[kLossScaleUpdates]);
    }
    call.report->loss_sum = words[kWordLoss];
    call.report->counted = static_cast<uint64_t>(words[kWordCounted]);
    call.report->top1 = static_cast<uint64_t>(words[kWordTop1]);
    call.report->top5 = static_cast<uint64_t>(words[kWordTop5]);
    call.report->squares = *squares;
  };
}

}  // namespace packhorse

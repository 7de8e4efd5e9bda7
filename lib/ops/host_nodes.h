// Kernels that every backend in host memory has alike: between a call and the step's few words.
#pragma once

#include <cmath>

#include "ops/backend.h"
#include "ops/nodes.h"

namespace packhorse {

template <typename Context>
Run bind_finite(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), finite = site.array<int32_t>("finite")](const StepCall&) {
    *finite = std::isfinite(words[kWordLoss] / words[kWordCounted]) ? 1 : 0;
  };
}

template <typename Context>
Run bind_report(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), squares = site.array<double>("squares")](const StepCall& call) {
    if (call.report == nullptr) return;
    call.report->loss_sum = words[kWordLoss];
    call.report->counted = static_cast<uint64_t>(words[kWordCounted]);
    call.report->top1 = static_cast<uint64_t>(words[kWordTop1]);
    call.report->top5 = static_cast<uint64_t>(words[kWordTop5]);
    call.report->squares = *squares;
  };
}

}  // namespace packhorse

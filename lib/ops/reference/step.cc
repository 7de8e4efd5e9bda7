#include <cmath>

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_requests(Context& /*context*/, const Site& site) {
  return [requests = site.array<float>("requests")](const StepCall& call) {
    requests[0] = call.own.stop ? 1 : 0;  // in the order of their words
    requests[1] = call.own.checkpoint ? 1 : 0;
  };
}

Run bind_finite(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), finite = site.array<int32_t>("finite")](const StepCall&) {
    *finite = std::isfinite(words[kWordLoss] / words[kWordCounted]) ? 1 : 0;
  };
}

Run bind_norm(Context& /*context*/, const Site& site) {
  return [gradient = site.array<float>("gradient"), count = site.count("gradient"),
          squares = site.array<double>("squares")](const StepCall&) {
    *squares = 0;
    for (int64_t i = 0; i < count; ++i) *squares += static_cast<double>(gradient[i]) * gradient[i];
  };
}

Run bind_running_statistics(Context& /*context*/, const Site& site) {
  return [batch = site.array<float>("batch"), running = site.array<float>("running"),
          next = site.array<float>("new_running"), finite = site.array<int32_t>("finite"), count = site.count("batch"),
          momentum = site.node().number("momentum"), share = site.node().number("share")](const StepCall&) {
    if (*finite == 0) return;
    for (int64_t c = 0; c < count; ++c)
      next[c] = static_cast<float>(momentum * running[c] + (1 - momentum) * share * batch[c]);
  };
}

Run bind_report(Context& /*context*/, const Site& site) {
  return [words = site.array<float>("words"), squares = site.array<double>("squares")](const StepCall& call) {
    if (call.report == nullptr) return;
    call.report->loss_sum = words[kWordLoss];
    call.report->counted = static_cast<uint64_t>(words[kWordCounted]);
    call.report->top1 = static_cast<uint64_t>(words[kWordTop1]);
    call.report->top5 = static_cast<uint64_t>(words[kWordTop5]);
    call.report->requests = {words[kWordStop] > 0, words[kWordCheckpoint] > 0};
    call.report->squares = *squares;
  };
}

}  // namespace packhorse::reference

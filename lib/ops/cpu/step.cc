#include <cmath>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

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

Run bind_running_statistics(Context& /*context*/, const Site& site) {
  const auto keep = static_cast<float>(site.node().number("momentum"));
  const float take = (1 - keep) * static_cast<float>(site.node().number("share"));
  return [batch = site.array<float>("batch"), running = site.array<float>("running"),
          next = site.array<float>("new_running"), finite = site.array<int32_t>("finite"), count = site.count("batch"),
          keep, take](const StepCall&) {
    if (*finite == 0) return;
    for (int64_t c = 0; c < count; ++c) next[c] = keep * running[c] + take * batch[c];
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

}  // namespace packhorse::cpu

#include "ops/cpu/backend.h"

namespace packhorse::cpu {

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

}  // namespace packhorse::cpu

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_sgd(Context& /*context*/, const Site& site) {
  return [weight = site.array<float>("weight"), gradient = site.array<float>("gradient"),
          velocity = site.array<float>("momentum"), new_weight = site.array<float>("new_weight"),
          new_velocity = site.array<float>("new_momentum"), finite = site.array<int32_t>("finite"),
          scale = site.array<float>("loss_scale"), count = site.count("weight"),
          momentum = site.node().number("momentum"), decay = site.node().number("decay")](const StepCall& call) {
    if (*finite == 0) return;
    const double factor = scale == nullptr ? 1 : scale[kLossScaleFactor];
    for (int64_t i = 0; i < count; ++i) {
      const double v = momentum * velocity[i] + (gradient[i] / factor + decay * weight[i]);
      new_velocity[i] = static_cast<float>(v);
      new_weight[i] = static_cast<float>(weight[i] - call.learning_rate * v);
    }
  };
}

}  // namespace packhorse::reference

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_norm(Context& /*context*/, const Site& site) {
  return [gradient = site.array<float>("gradient"), count = site.count("gradient"),
          scale = site.array<float>("loss_scale"), squares = site.array<double>("squares")](const StepCall&) {
    const double factor = scale == nullptr ? 1 : scale[kLossScaleFactor];
    *squares = 0;
    for (int64_t i = 0; i < count; ++i) *squares += static_cast<double>(gradient[i]) * gradient[i];
    *squares /= factor * factor;
  };
}

// Every layout but the plain one is a backend's own.
Run bind_copy(Context& /*context*/, const Site& site) {
  return [src = site.array<float>("src"), dst = site.view("dst")](const StepCall&) {
    for (int64_t i = 0; i < dst.shape.count(); ++i) {
      if (dst.dtype == Dtype::f32)
        static_cast<float*>(dst.data)[i] = src[i];
      else
        static_cast<Bf16*>(dst.data)[i] = Bf16(src[i]);
    }
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

}  // namespace packhorse::reference

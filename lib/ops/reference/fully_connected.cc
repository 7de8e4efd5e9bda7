#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_fully_connected(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst"), weight = site.array<float>("weight"),
          bias = site.array<float>("bias")](const StepCall&) {
    for (int64_t n = 0; n < src.shape.n; ++n)
      for (int64_t o = 0; o < dst.shape.c; ++o) {
        double sum = bias[o];
        for (int64_t c = 0; c < src.shape.c; ++c)
          sum += static_cast<double>(at(src, n)[c]) * weight[o * src.shape.c + c];
        at(dst, n)[o] = static_cast<float>(sum);
      }
  };
}

Run bind_fully_connected_weight_gradient(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst_grad = site.view("dst_grad"),
          weight_grad = site.array<float>("weight_grad")](const StepCall&) {
    for (int64_t o = 0; o < dst_grad.shape.c; ++o)
      for (int64_t c = 0; c < src.shape.c; ++c) {
        double sum = 0;
        for (int64_t n = 0; n < src.shape.n; ++n) sum += static_cast<double>(at(dst_grad, n)[o]) * at(src, n)[c];
        weight_grad[o * src.shape.c + c] = static_cast<float>(sum);
      }
  };
}

Run bind_bias_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), bias_grad = site.array<float>("bias_grad")](const StepCall&) {
    for (int64_t o = 0; o < dst_grad.shape.c; ++o) {
      double sum = 0;
      for (int64_t n = 0; n < dst_grad.shape.n; ++n) sum += at(dst_grad, n)[o];
      bias_grad[o] = static_cast<float>(sum);
    }
  };
}

Run bind_fully_connected_data_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), weight = site.array<float>("weight"),
          src_grad = Gradient(site, "src_grad")](const StepCall&) {
    const View& dst = src_grad.begin();
    for (int64_t n = 0; n < dst.shape.n; ++n)
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        double sum = 0;
        for (int64_t o = 0; o < dst_grad.shape.c; ++o)
          sum += static_cast<double>(at(dst_grad, n)[o]) * weight[o * dst.shape.c + c];
        at(dst, n)[c] += static_cast<float>(sum);
      }
  };
}

}  // namespace packhorse::reference

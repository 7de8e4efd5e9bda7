#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_copy_channels(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst")](const StepCall&) {
    for (int64_t p = 0; p < dst.shape.pixels(); ++p) std::copy_n(at(src, p), dst.shape.c, at(dst, p));
  };
}

Run bind_copy_channels_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), src_grad = Gradient(site, "src_grad")](const StepCall&) {
    const View& dst = src_grad.begin();
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst.shape.c; ++c) at(dst, p)[c] += at(dst_grad, p)[c];
  };
}

Run bind_fill(Context& /*context*/, const Site& site) {
  return [dst = site.array<float>("dst"), count = site.count("dst"),
          value = static_cast<float>(site.node().number("value"))](const StepCall&) { std::fill_n(dst, count, value); };
}

}  // namespace packhorse::reference

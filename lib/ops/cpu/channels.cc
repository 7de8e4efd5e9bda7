#include <algorithm>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

void copy(const Context& context, const View& src, const View& dst, bool accumulate) {
  const Chunks chunks(dst.shape);
  context.each(chunks.count(), [&](int64_t chunk) {
    const int64_t first = chunks.first(chunk);
    masked_gradient(dst.dtype, {}, rows_from(src, first), rows_from(dst, first), chunks.size(chunk), dst.shape.c,
                    accumulate);
  });
}

}  // namespace

Run bind_copy_channels(Context& context, const Site& site) {
  return
      [&context, src = site.view("src"), dst = site.view("dst")](const StepCall&) { copy(context, src, dst, false); };
}

Run bind_copy_channels_gradient(Context& context, const Site& site) {
  return [&context, dst_grad = site.view("dst_grad"), src_grad = Gradient(site, "src_grad")](const StepCall&) {
    src_grad.begin(context);
    copy(context, dst_grad, src_grad.view(), src_grad.accumulates());
  };
}

Run bind_fill(Context& /*context*/, const Site& site) {
  return [dst = site.array<float>("dst"), count = site.count("dst"),
          value = static_cast<float>(site.node().number("value"))](const StepCall&) { std::fill_n(dst, count, value); };
}

}  // namespace packhorse::cpu

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

Run bind_add(Context& context, const Site& site) {
  return [&context, a = site.view("a"), b = site.view("b"), dst = site.view("dst"),
          relu = site.flag("relu")](const StepCall&) {
    const Chunks chunks(dst.shape);
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      add_rows(dst.dtype, rows_from(a, first), rows_from(b, first), rows_from(dst, first), chunks.size(chunk),
               dst.shape.c, relu);
    });
  };
}

Run bind_add_gradient(Context& context, const Site& site) {
  return [&context, value = site.view("dst"), dst_grad = site.view("dst_grad"),
          src_grad = Gradient(site, "src_grad")](const StepCall&) {
    src_grad.begin(context);
    const Chunks chunks(dst_grad.shape);
    context.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      masked_gradient(dst_grad.dtype, value.data == nullptr ? Rows{} : rows_from(value, first),
                      rows_from(dst_grad, first), rows_from(src_grad.view(), first), chunks.size(chunk),
                      dst_grad.shape.c, src_grad.accumulates());
    });
  };
}

}  // namespace packhorse::cpu

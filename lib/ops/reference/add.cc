#include <algorithm>

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_add(Context& /*context*/, const Site& site) {
  return [a = site.view("a"), b = site.view("b"), dst = site.view("dst"), relu = site.flag("relu")](const StepCall&) {
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        const float sum = at(a, p)[c] + at(b, p)[c];
        at(dst, p)[c] = relu ? std::max(sum, 0.0f) : sum;
      }
  };
}

// Each element before the next: the result may lie where dst_grad lies.
Run bind_add_gradient(Context& /*context*/, const Site& site) {
  return [value = site.view("dst"), dst_grad = site.view("dst_grad"), dst = site.view("src_grad"),
          addend = site.view("src_grad_addend")](const StepCall&) {
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        const bool passes = value.data == nullptr || at(value, p)[c] > 0;
        at(dst, p)[c] = (passes ? at(dst_grad, p)[c] : 0.0f) + (addend.data == nullptr ? 0.0f : at(addend, p)[c]);
      }
  };
}

}  // namespace packhorse::reference

#include <algorithm>
#include <cmath>

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_statistics(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), mean = site.array<float>("mean"),
          variance = site.array<float>("variance")](const StepCall&) {
    const auto count = static_cast<double>(src.shape.pixels());
    for (int64_t c = 0; c < src.shape.c; ++c) {
      double sum = 0, squares = 0;
      for (int64_t p = 0; p < src.shape.pixels(); ++p) sum += at(src, p)[c];
      const double average = sum / count;
      for (int64_t p = 0; p < src.shape.pixels(); ++p) squares += (at(src, p)[c] - average) * (at(src, p)[c] - average);
      mean[c] = static_cast<float>(average);
      variance[c] = static_cast<float>(squares / count);
    }
  };
}

Run bind_finish(Context& /*context*/, const Site& site) {
  return
      [mean = site.array<float>("mean"), variance = site.array<float>("variance"), scale = site.array<float>("scale"),
       shift = site.array<float>("shift"), a = site.array<float>("a"), b = site.array<float>("b"),
       count = site.count("a"), epsilon = site.node().number("epsilon")](const StepCall&) {
        for (int64_t c = 0; c < count; ++c) {
          const double factor = scale[c] / std::sqrt(variance[c] + epsilon);
          a[c] = static_cast<float>(factor);
          b[c] = static_cast<float>(shift[c] - mean[c] * factor);
        }
      };
}

Run bind_apply(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), residual = site.view("residual"), dst = site.view("dst"), a = site.array<float>("a"),
          b = site.array<float>("b"), relu = site.flag("relu")](const StepCall&) {
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        auto value = static_cast<float>(static_cast<double>(at(src, p)[c]) * a[c] + b[c]);
        if (residual.data != nullptr) value += at(residual, p)[c];
        at(dst, p)[c] = relu ? std::max(value, 0.0f) : value;
      }
  };
}

Run bind_apply_gradient(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), residual = site.view("residual"), dst_grad = site.view("dst_grad"),
          a = site.array<float>("a"), b = site.array<float>("b"), src_grad = Gradient(site, "src_grad"),
          masked_grad = site.view("masked_grad"), residual_grad = Gradient(site, "residual_grad"),
          has_src_grad = site.has("src_grad"), has_residual_grad = site.has("residual_grad"),
          a_grad = site.array<double>("a_grad"), b_grad = site.array<double>("b_grad"),
          relu = site.flag("relu")](const StepCall&) {
    if (has_src_grad) src_grad.begin();
    if (has_residual_grad) residual_grad.begin();
    std::fill_n(a_grad, src.shape.c, 0.0);
    std::fill_n(b_grad, src.shape.c, 0.0);
    for (int64_t p = 0; p < src.shape.pixels(); ++p)
      for (int64_t c = 0; c < src.shape.c; ++c) {
        const double x = at(src, p)[c];
        auto value = static_cast<float>(x * a[c] + b[c]);  // rounded as in apply: ReLU must decide as it did there
        if (residual.data != nullptr) value += at(residual, p)[c];
        const double g = !relu || value > 0 ? at(dst_grad, p)[c] : 0.0f;
        a_grad[c] += g * x;
        b_grad[c] += g;
        if (masked_grad.data != nullptr) at(masked_grad, p)[c] = static_cast<float>(g);
        if (has_src_grad) at(src_grad.view(), p)[c] += static_cast<float>(a[c] * g);
        if (has_residual_grad) at(residual_grad.view(), p)[c] += static_cast<float>(g);
      }
  };
}

// With r = sqrt(variance + epsilon): da/dvariance = -scale / (2 r³), db = -mean * da, and db/dmean = -a. The gradient
// of the variance reaches each pixel 2 (src - mean) / count times, that of the mean 1 / count times.
Run bind_finish_gradient(Context& /*context*/, const Site& site) {
  return
      [a_grad = site.array<double>("a_grad"), b_grad = site.array<double>("b_grad"), mean = site.array<float>("mean"),
       variance = site.array<float>("variance"), scale = site.array<float>("scale"),
       scale_grad = site.array<float>("scale_grad"), shift_grad = site.array<float>("shift_grad"),
       k = site.array<float>("k"), l = site.array<float>("l"), channels = site.count("scale"),
       epsilon = site.node().number("epsilon"), count = site.node().number("count")](const StepCall&) {
        for (int64_t c = 0; c < channels; ++c) {
          const double inverse = 1 / std::sqrt(variance[c] + epsilon);
          const double centred = a_grad[c] - mean[c] * b_grad[c];
          shift_grad[c] = static_cast<float>(b_grad[c]);
          scale_grad[c] = static_cast<float>(centred * inverse);
          if (k != nullptr) k[c] = static_cast<float>(-scale[c] * inverse * inverse * inverse * centred / count);
          if (l != nullptr) l[c] = static_cast<float>(-scale[c] * inverse * b_grad[c] / count);
        }
      };
}

Run bind_statistics_gradient(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), mean = site.array<float>("mean"), k = site.array<float>("k"),
          l = site.array<float>("l"), masked_grad = site.view("masked_grad"), a = site.array<float>("a"),
          src_grad = Gradient(site, "src_grad")](const StepCall&) {
    for (int64_t p = 0; p < src.shape.pixels(); ++p)
      for (int64_t c = 0; c < src.shape.c; ++c) {
        double gradient = static_cast<double>(k[c]) * (at(src, p)[c] - mean[c]) + l[c];
        if (masked_grad.data != nullptr) gradient += static_cast<double>(a[c]) * at(masked_grad, p)[c];
        at(src_grad.view(), p)[c] = src_grad.before(p, c) + static_cast<float>(gradient);
      }
  };
}

}  // namespace packhorse::reference

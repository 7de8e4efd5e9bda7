#include <vector>

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_convolution(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst"), weight = site.array<float>("weight"),
          window = Window(site)](const StepCall&) {
    const int64_t inputs = src.shape.c, taps = window.kernel * window.kernel;
    each_pixel(dst.shape, [&](int64_t n, int64_t y, int64_t x) {
      for (int64_t o = 0; o < dst.shape.c; ++o) {
        double sum = 0;
        window.each_tap(src.shape, y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
          const float *from = at(src, n, sy, sx), *w = weight + o * inputs * taps + tap;
          for (int64_t c = 0; c < inputs; ++c) sum += static_cast<double>(from[c]) * w[c * taps];
        });
        at(dst, n, y, x)[o] = static_cast<float>(sum);
      }
    });
  };
}

Run bind_convolution_weight_gradient(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst_grad = site.view("dst_grad"), weight_grad = site.array<float>("weight_grad"),
          window = Window(site)](const StepCall&) {
    const int64_t inputs = src.shape.c, outputs = dst_grad.shape.c, taps = window.kernel * window.kernel;
    std::vector<double> sums(static_cast<size_t>(outputs * inputs * taps), 0.0);
    each_pixel(dst_grad.shape, [&](int64_t n, int64_t y, int64_t x) {
      const float* gradient = at(dst_grad, n, y, x);
      window.each_tap(src.shape, y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
        const float* from = at(src, n, sy, sx);
        for (int64_t o = 0; o < outputs; ++o)
          for (int64_t c = 0; c < inputs; ++c)
            sums[static_cast<size_t>((o * inputs + c) * taps + tap)] += static_cast<double>(gradient[o]) * from[c];
      });
    });
    for (size_t i = 0; i < sums.size(); ++i) weight_grad[i] = static_cast<float>(sums[i]);
  };
}

Run bind_convolution_data_gradient(Context& /*context*/, const Site& site) {
  return [src_grad = Gradient(site, "src_grad"), dst_grad = site.view("dst_grad"), weight = site.array<float>("weight"),
          window = Window(site)](const StepCall&) {
    const View& dst = src_grad.begin();
    const int64_t inputs = dst.shape.c, outputs = dst_grad.shape.c, taps = window.kernel * window.kernel;
    std::vector<double> sums(static_cast<size_t>(dst.shape.count()), 0.0);
    each_pixel(dst_grad.shape, [&](int64_t n, int64_t y, int64_t x) {
      const float* gradient = at(dst_grad, n, y, x);
      window.each_tap(dst.shape, y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
        double* sum = &sums[static_cast<size_t>(((n * dst.shape.h + sy) * dst.shape.w + sx) * inputs)];
        for (int64_t o = 0; o < outputs; ++o) {
          const float* w = weight + o * inputs * taps + tap;
          for (int64_t c = 0; c < inputs; ++c) sum[c] += static_cast<double>(gradient[o]) * w[c * taps];
        }
      });
    });
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < inputs; ++c)
        at(dst, p)[c] += static_cast<float>(sums[static_cast<size_t>(p * inputs + c)]);
  };
}

}  // namespace packhorse::reference

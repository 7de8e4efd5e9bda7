#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

// The place of pixel (n, y, x) in a dense array.
int64_t place(const Shape& shape, int64_t n, int64_t y, int64_t x) {
  return ((n * shape.h + y) * shape.w + x) * shape.c;
}

}  // namespace

Run bind_max_pool(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), sign = site.array<float>("sign"), dst = site.view("dst"),
          argmax = site.array<uint8_t>("argmax"), window = Window(site)](const StepCall&) {
    each_pixel(dst.shape, [&](int64_t n, int64_t y, int64_t x) {
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        const float direction = sign == nullptr ? 1.0f : sign[c];
        float peak = 0;
        int first = -1;
        window.each_tap(src.shape, y, x, [&](int64_t sy, int64_t sx, int tap) {
          const float value = at(src, n, sy, sx)[c];
          const bool further = direction > 0 ? value > peak : direction < 0 && value < peak;
          if (first >= 0 && !further) return;
          peak = value;
          first = tap;
        });
        at(dst, n, y, x)[c] = peak;
        if (argmax != nullptr) argmax[place(dst.shape, n, y, x) + c] = static_cast<uint8_t>(first);
      }
    });
  };
}

Run bind_max_pool_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), argmax = site.array<uint8_t>("argmax"),
          src_grad = Gradient(site, "src_grad"), window = Window(site)](const StepCall&) {
    const View& dst = src_grad.begin();
    each_pixel(dst_grad.shape, [&](int64_t n, int64_t y, int64_t x) {
      window.each_tap(dst.shape, y, x, [&](int64_t sy, int64_t sx, int tap) {
        for (int64_t c = 0; c < dst.shape.c; ++c)
          if (argmax[place(dst_grad.shape, n, y, x) + c] == tap) at(dst, n, sy, sx)[c] += at(dst_grad, n, y, x)[c];
      });
    });
  };
}

Run bind_average_pool(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst"), window = Window(site)](const StepCall&) {
    each_pixel(dst.shape, [&](int64_t n, int64_t y, int64_t x) {
      for (int64_t c = 0; c < dst.shape.c; ++c) {
        double sum = 0;
        window.each_tap(src.shape, y, x, [&](int64_t sy, int64_t sx, int) { sum += at(src, n, sy, sx)[c]; });
        at(dst, n, y, x)[c] = static_cast<float>(sum / (window.kernel * window.kernel));
      }
    });
  };
}

Run bind_average_pool_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), src_grad = Gradient(site, "src_grad"),
          window = Window(site)](const StepCall&) {
    const View& dst = src_grad.begin();
    const auto area = static_cast<float>(window.kernel * window.kernel);
    each_pixel(dst_grad.shape, [&](int64_t n, int64_t y, int64_t x) {
      window.each_tap(dst.shape, y, x, [&](int64_t sy, int64_t sx, int) {
        for (int64_t c = 0; c < dst.shape.c; ++c) at(dst, n, sy, sx)[c] += at(dst_grad, n, y, x)[c] / area;
      });
    });
  };
}

Run bind_global_pool(Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst")](const StepCall&) {
    const int64_t area = src.shape.h * src.shape.w;
    for (int64_t n = 0; n < src.shape.n; ++n)
      for (int64_t c = 0; c < src.shape.c; ++c) {
        double sum = 0;
        for (int64_t p = 0; p < area; ++p) sum += at(src, n * area + p)[c];
        at(dst, n)[c] = static_cast<float>(sum / static_cast<double>(area));
      }
  };
}

Run bind_global_pool_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.view("dst_grad"), src_grad = Gradient(site, "src_grad")](const StepCall&) {
    const View& dst = src_grad.begin();
    const int64_t area = dst.shape.h * dst.shape.w;
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst.shape.c; ++c) at(dst, p)[c] += at(dst_grad, p / area)[c] / static_cast<float>(area);
  };
}

}  // namespace packhorse::reference

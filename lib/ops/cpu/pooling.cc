#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

/// A pool's geometry, and where the pixels of each image begin.
struct Pool {
  Pool(const Site& site, const Shape& src, const Shape& dst)
      : images(src.n),
        shape{.src_h = src.h,
              .src_w = src.w,
              .dst_h = dst.h,
              .dst_w = dst.w,
              .channels = src.c,
              .kernel = site.integer("kernel"),
              .stride = site.integer("stride"),
              .pad = site.integer("pad")},
        argmax(site.array<uint8_t>("argmax")) {}

  Rows src(const View& view, int64_t n) const { return rows_from(view, n * shape.src_h * shape.src_w); }
  Rows dst(const View& view, int64_t n) const { return rows_from(view, n * shape.dst_h * shape.dst_w); }
  uint8_t* places(int64_t n) const {
    return argmax == nullptr ? nullptr : argmax + n * shape.dst_h * shape.dst_w * shape.channels;
  }

  int64_t images;
  PoolShape shape;
  uint8_t* argmax;
};

// Calls row(n, y) for each row of each image.
template <typename Row>
void each_row(const Context& context, int64_t images, int64_t height, const Row& row) {
  context.each(images * height, [&](int64_t line) { row(line / height, line % height); });
}

Run bind_forward(const Context& context, const Site& site, bool maximum) {
  const View src = site.view("src"), dst = site.view("dst");
  return [&context, src, dst, maximum, pool = Pool(site, src.shape, dst.shape)](const StepCall&) {
    each_row(context, pool.images, pool.shape.dst_h, [&](int64_t n, int64_t y) {
      if (maximum)
        max_pool_row(src.dtype, pool.shape, y, pool.src(src, n), pool.dst(dst, n), pool.places(n));
      else
        average_pool_row(src.dtype, pool.shape, y, pool.src(src, n), pool.dst(dst, n));
    });
  };
}

Run bind_gradient(const Context& context, const Site& site, bool maximum) {
  const View src = site.view("src_grad"), dst = site.view("dst_grad");
  return [&context, src, dst, maximum, gradient = Gradient(site, "src_grad"),
          pool = Pool(site, src.shape, dst.shape)](const StepCall&) {
    gradient.begin(context);
    each_row(context, pool.images, pool.shape.src_h, [&](int64_t n, int64_t y) {
      if (maximum)
        max_pool_gradient_row(src.dtype, pool.shape, y, pool.dst(dst, n), pool.places(n), pool.src(src, n),
                              gradient.accumulates());
      else
        average_pool_gradient_row(src.dtype, pool.shape, y, pool.dst(dst, n), pool.src(src, n), gradient.accumulates());
    });
  };
}

}  // namespace

Run bind_max_pool(Context& context, const Site& site) { return bind_forward(context, site, true); }
Run bind_average_pool(Context& context, const Site& site) { return bind_forward(context, site, false); }
Run bind_max_pool_gradient(Context& context, const Site& site) { return bind_gradient(context, site, true); }
Run bind_average_pool_gradient(Context& context, const Site& site) { return bind_gradient(context, site, false); }

Run bind_global_pool(Context& context, const Site& site) {
  return [&context, src = site.view("src"), dst = site.array<float>("dst")](const StepCall&) {
    const int64_t area = src.shape.h * src.shape.w, channels = src.shape.c;
    context.each(src.shape.n, [&](int64_t n) {
      mean_of_pixels(src.dtype, rows_from(src, n * area), area, channels, dst + n * channels);
    });
  };
}

Run bind_global_pool_gradient(Context& context, const Site& site) {
  return [&context, dst_grad = site.array<float>("dst_grad"), gradient = Gradient(site, "src_grad")](const StepCall&) {
    gradient.begin(context);
    const View& dst = gradient.view();
    const int64_t area = dst.shape.h * dst.shape.w, channels = dst.shape.c;
    context.each(dst.shape.n, [&](int64_t n) {
      spread_to_pixels(dst.dtype, dst_grad + n * channels, 1.0f / static_cast<float>(area), rows_from(dst, n * area),
                       area, channels, gradient.accumulates());
    });
  };
}

}  // namespace packhorse::cpu

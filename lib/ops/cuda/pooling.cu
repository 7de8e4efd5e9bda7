#include "ops/cuda/launch.h"
#include "ops/cuda/pooling.cuh"

namespace packhorse::cuda {

Run bind_max_pool(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), dst = site.view("dst"), argmax = site.view("argmax");
  const bool wide = vectors(src.dtype, {src, dst}) && fits(argmax, 16 / static_cast<int64_t>(size_of(src.dtype)));
  return [=, stream = stream_of(site), sign = site.array<float>("sign"),
          window = window_of(site, src, dst)](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
      with_window(window, form, [&](auto fixed) {
        max_pool<T, kLength><<<t.grid, t.block, 0, stream>>>(fixed, in<T>(src), sign, out<T>(dst), out<uint8_t>(argmax),
                                                             pixels_of(dst), channels_of(dst));
      });
    });
    launched("max_pool");
  };
}

Run bind_max_pool_gradient(Context& /*context*/, const Site& site) {
  const View dst_grad = site.view("dst_grad"), argmax = site.view("argmax"), addend = site.view("src_grad_addend");
  const View src_grad = site.view("src_grad");
  const bool wide = vectors(src_grad.dtype, {dst_grad, addend, src_grad}) &&
                    fits(argmax, 16 / static_cast<int64_t>(size_of(src_grad.dtype)));
  return [=, stream = stream_of(site), window = window_of(site, src_grad, dst_grad)](const StepCall&) {
    with_form(src_grad.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      with_window(window, form, [&](auto fixed) {
        const int64_t units = gradient_units(fixed);
        const Tiles t = pointwise_tiles(units, src_grad.shape.c / kLength);
        max_pool_gradient<T, kLength>
            <<<t.grid, t.block, 0, stream>>>(fixed, in<T>(dst_grad), in<uint8_t>(argmax), in<T>(addend),
                                             out<T>(src_grad), static_cast<unsigned>(units), channels_of(src_grad));
      });
    });
    launched("max_pool_gradient");
  };
}

Run bind_average_pool(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), dst = site.view("dst");
  return [=, stream = stream_of(site), window = window_of(site, src, dst),
          wide = vectors(src.dtype, {src, dst})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
      with_window(window, form, [&](auto fixed) {
        average_pool<T, kLength>
            <<<t.grid, t.block, 0, stream>>>(fixed, in<T>(src), out<T>(dst), pixels_of(dst), channels_of(dst));
      });
    });
    launched("average_pool");
  };
}

Run bind_average_pool_gradient(Context& /*context*/, const Site& site) {
  const View dst_grad = site.view("dst_grad"), addend = site.view("src_grad_addend"), src_grad = site.view("src_grad");
  return [=, stream = stream_of(site), window = window_of(site, src_grad, dst_grad),
          wide = vectors(src_grad.dtype, {dst_grad, addend, src_grad})](const StepCall&) {
    with_form(src_grad.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(src_grad.shape.pixels(), src_grad.shape.c / kLength);
      with_window(window, form, [&](auto fixed) {
        average_pool_gradient<T, kLength><<<t.grid, t.block, 0, stream>>>(
            fixed, in<T>(dst_grad), in<T>(addend), out<T>(src_grad), pixels_of(src_grad), channels_of(src_grad));
      });
    });
    launched("average_pool_gradient");
  };
}

Run bind_global_pool(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), dst = site.view("dst");
  return [=, stream = stream_of(site), wide = vectors(src.dtype, {src})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const int64_t area = src.shape.h * src.shape.w;
      Tiles t = tiles(area, src.shape.c / kLength, 1);
      t.grid.x = static_cast<unsigned>(src.shape.n);
      global_pool<T, kLength>
          <<<t.grid, t.block, 0, stream>>>(in<T>(src), out<float>(dst), static_cast<unsigned>(area), channels_of(src));
    });
    launched("global_pool");
  };
}

Run bind_global_pool_gradient(Context& /*context*/, const Site& site) {
  const View dst_grad = site.view("dst_grad"), addend = site.view("src_grad_addend"), src_grad = site.view("src_grad");
  return [=, stream = stream_of(site), wide = vectors(src_grad.dtype, {addend, src_grad})](const StepCall&) {
    with_form(src_grad.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(src_grad.shape.pixels(), src_grad.shape.c / kLength);
      global_pool_gradient<T, kLength><<<t.grid, t.block, 0, stream>>>(in<float>(dst_grad), in<T>(addend),
                                                                       out<T>(src_grad), area_of(src_grad),
                                                                       pixels_of(src_grad), channels_of(src_grad));
    });
    launched("global_pool_gradient");
  };
}

}  // namespace packhorse::cuda

#include "ops/cuda/fused_pooling.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/passes.h"

namespace packhorse::cuda {

Run bind_apply_max_pool(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), dst = site.view("dst"), argmax = site.view("argmax");
  const bool wide = vectors(src.dtype, {src, dst}) && fits(argmax, 16 / static_cast<int64_t>(size_of(src.dtype)));
  return [=, stream = stream_of(site), a = site.array<float>("a"), b = site.array<float>("b"), relu = site.flag("relu"),
          window = window_of(site, src, dst)](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
      with_window(window, form, [&](auto fixed) {
        apply_max_pool<T, kLength><<<t.grid, t.block, 0, stream>>>(
            fixed, in<T>(src), a, b, relu, out<T>(dst), out<uint8_t>(argmax), pixels_of(dst), channels_of(dst));
      });
    });
    launched("apply_max_pool");
  };
}

Run bind_apply_global_pool(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), residual = site.view("residual"), dst = site.view("dst");
  return [=, stream = stream_of(site), a = site.array<float>("a"), b = site.array<float>("b"), relu = site.flag("relu"),
          wide = vectors(src.dtype, {src, residual})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = image_tiles(src, kLength);
      apply_global_pool<T, kLength><<<t.grid, t.block, 0, stream>>>(in<T>(src), in<T>(residual), a, b, relu,
                                                                    out<float>(dst), area_of(src), channels_of(src));
    });
    launched("apply_global_pool");
  };
}

Run bind_global_pool_gradient_mask(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), residual = site.view("residual"), dst_grad = site.view("dst_grad");
  const View masked = site.view("masked_grad");
  return
      [=, stream = stream_of(site), a = site.array<float>("a"), b = site.array<float>("b"),
       a_grad = site.array<double>("a_grad"), b_grad = site.array<double>("b_grad"),
       partial = site.array<double>("workspace"), wide = vectors(src.dtype, {src, residual, masked})](const StepCall&) {
        with_form(src.dtype, wide, [&](auto form) {
          using T = typename decltype(form)::type;
          constexpr int kLength = decltype(form)::length;
          const Tiles t = sums_tiles(src.shape, kLength);
          const PooledMaskArrays<T> arrays{in<float>(dst_grad), in<T>(src), in<T>(residual), a, b, out<T>(masked)};
          global_pool_gradient_mask<T, kLength>
              <<<t.grid, t.block, 0, stream>>>(arrays, area_of(src), pixels_of(src), channels_of(src), partial);
          add_chunks(partial, t.chunks(), channels_of(src), a_grad, b_grad, stream);
        });
        launched("global_pool_gradient_mask");
      };
}

Run bind_max_pool_statistics_gradient(Context& /*context*/, const Site& site) {
  const View dst_grad = site.view("dst_grad"), argmax = site.view("argmax"), src = site.view("src");
  const View addend = site.view("src_grad_addend"), src_grad = site.view("src_grad");
  const bool wide = vectors(src.dtype, {dst_grad, src, addend, src_grad}) &&
                    fits(argmax, 16 / static_cast<int64_t>(size_of(src.dtype)));
  return [=, stream = stream_of(site), mean = site.array<float>("mean"), k = site.array<float>("k"),
          l = site.array<float>("l"), a = site.array<float>("a"),
          window = window_of(site, src, dst_grad)](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const StatisticsGradientArrays<T> arrays{in<T>(src), {}, in<T>(addend), mean, k, l, a, out<T>(src_grad)};
      with_window(window, form, [&](auto fixed) {
        const int64_t units = gradient_units(fixed);
        const Tiles t = pointwise_tiles(units, src.shape.c / kLength);
        max_pool_statistics_gradient<T, kLength><<<t.grid, t.block, 0, stream>>>(
            fixed, in<T>(dst_grad), in<uint8_t>(argmax), arrays, static_cast<unsigned>(units), channels_of(src));
      });
    });
    launched("max_pool_statistics_gradient");
  };
}

}  // namespace packhorse::cuda

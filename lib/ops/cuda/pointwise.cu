#include <string>

#include "ops/cuda/launch.h"
#include "ops/cuda/passes.h"
#include "ops/cuda/pointwise.cuh"

namespace packhorse::cuda {

namespace {

void launch_masked_copy(const View& value, const View& src, const View& addend, const View& dst, cudaStream_t stream) {
  // Of `src` only as many channels as `dst` has.
  const View taken{src.data, dst.shape, src.pixel_stride, src.dtype};
  with_form(dst.dtype, vectors(dst.dtype, {value, taken, addend, dst}), [&](auto form) {
    using T = typename decltype(form)::type;
    constexpr int kLength = decltype(form)::length;
    const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
    masked_copy<T, kLength><<<t.grid, t.block, 0, stream>>>(in<T>(value), in<T>(taken), in<T>(addend), out<T>(dst),
                                                            pixels_of(dst), channels_of(dst));
  });
  launched("masked_copy");
}

Run masked_copy_of(const Site& site, const View& value, const View& src, const View& addend, const View& dst) {
  return [=, stream = stream_of(site)](const StepCall&) { launch_masked_copy(value, src, addend, dst, stream); };
}

}  // namespace

void add_channels(const View& from, const View& addend, const View& to, cudaStream_t stream) {
  launch_masked_copy({}, from, addend, to, stream);
}

void pad_channels(const View& from, const View& to, cudaStream_t stream) {
  with_form(to.dtype, false, [&](auto form) {
    using T = typename decltype(form)::type;
    pad_channels<T><<<few_blocks_for(to.shape.count()), kThreads, 0, stream>>>(
        in<T>(from), static_cast<T*>(to.data), to.shape.pixels(), channels_of(from), channels_of(to));
  });
  launched("pad_channels");
}

void add_bias(const View& from, const float* bias, const View& to, cudaStream_t stream) {
  add_bias<<<few_blocks_for(to.shape.count()), kThreads, 0, stream>>>(in<float>(from), bias, out<float>(to),
                                                                      to.shape.pixels(), channels_of(to));
  launched("add_bias");
}

void weight_gradient(Dtype dtype, const void* from, float* to, const Weights& weights, cudaStream_t stream) {
  with_form(dtype, false, [&](auto form) {
    using T = typename decltype(form)::type;
    const int64_t count = weights.outputs * weights.channels * weights.taps;
    gradient_from_channels_last<T><<<few_blocks_for(count), kThreads, 0, stream>>>(
        static_cast<const T*>(from), to, static_cast<unsigned>(weights.outputs),
        static_cast<unsigned>(weights.channels), static_cast<unsigned>(weights.taps),
        static_cast<unsigned>(weights.padded));
  });
  launched("gradient_from_channels_last");
}

void fill_numbers(float* to, int64_t count, float value, cudaStream_t stream) {
  fill<<<blocks_for(count), kThreads, 0, stream>>>(to, count, value);
  launched("fill");
}

Run bind_add(Context& /*context*/, const Site& site) {
  const View a = site.view("a"), b = site.view("b"), dst = site.view("dst");
  return
      [=, stream = stream_of(site), relu = site.flag("relu"), wide = vectors(dst.dtype, {a, b, dst})](const StepCall&) {
        with_form(dst.dtype, wide, [&](auto form) {
          using T = typename decltype(form)::type;
          constexpr int kLength = decltype(form)::length;
          const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
          add<T, kLength>
              <<<t.grid, t.block, 0, stream>>>(in<T>(a), in<T>(b), out<T>(dst), pixels_of(dst), channels_of(dst), relu);
        });
        launched("add");
      };
}

Run bind_add_gradient(Context& /*context*/, const Site& site) {
  return masked_copy_of(site, site.view("dst"), site.view("dst_grad"), site.view("src_grad_addend"),
                        site.view("src_grad"));
}

Run bind_copy_channels(Context& /*context*/, const Site& site) {
  return masked_copy_of(site, {}, site.view("src"), {}, site.view("dst"));
}

Run bind_copy_channels_gradient(Context& /*context*/, const Site& site) {
  return masked_copy_of(site, {}, site.view("dst_grad"), site.view("src_grad_addend"), site.view("src_grad"));
}

Run bind_fill(Context& /*context*/, const Site& site) {
  return [stream = stream_of(site), dst = site.array<float>("dst"), count = site.count("dst"),
          value = static_cast<float>(site.node().number("value"))](const StepCall&) {
    fill_numbers(dst, count, value, stream);
  };
}

// A layout is cuDNN's order of weights: the value has their shape in it, (O, K, K, C).
Run bind_copy(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), dst = site.view("dst");
  const bool weights = !site.program().value(site.node().at("dst")).layout.empty();
  return [=, stream = stream_of(site), outputs = static_cast<unsigned>(site.node().number("outputs")),
          channels = static_cast<unsigned>(site.node().number("channels"))](const StepCall&) {
    with_form(dst.dtype, false, [&](auto form) {
      using T = typename decltype(form)::type;
      const int64_t count = dst.shape.count();
      auto* const to = static_cast<T*>(dst.data);
      const auto* const from = static_cast<const float*>(src.data);
      if (!weights) {
        convert<T, float><<<few_blocks_for(count), kThreads, 0, stream>>>(from, to, count);
        return;
      }
      weights_to_channels_last<T><<<few_blocks_for(count), kThreads, 0, stream>>>(
          from, to, count, outputs, channels, static_cast<unsigned>(dst.shape.h * dst.shape.w),
          static_cast<unsigned>(dst.shape.c));
    });
    launched("copy");
  };
}

Run bind_input(Context& context, const Site& site) {
  const View dst = site.view("dst");
  Channels3 by{};
  for (size_t c = 0; c < 3; ++c) {
    by.mean[c] = static_cast<float>(site.node().number("mean_" + std::to_string(c)));
    by.scale[c] = static_cast<float>(site.node().number("scale_" + std::to_string(c)));
  }
  return [=, stream = stream_of(site), call = context.call()](const StepCall&) {
    with_form(dst.dtype, false, [&](auto form) {
      using T = typename decltype(form)::type;
      const int64_t pixels = dst.shape.pixels();
      normalise_input<T><<<blocks_for(pixels), kThreads, 0, stream>>>(
          call, out<T>(dst), pixels, dst.shape.h * dst.shape.w, static_cast<int>(dst.shape.c),
          dst.shape.c == 4 && fits(dst, 4), by);
    });
    launched("normalise_input");
  };
}

}  // namespace packhorse::cuda

#include "ops/cuda/batch_norm.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/passes.h"

namespace packhorse::cuda {

namespace {

unsigned finish_blocks(int64_t channels) {
  return static_cast<unsigned>((channels + kFinishChannels - 1) / kFinishChannels);
}
const dim3 kFinishBlock(kFinishChannels, kFinishRows);

}  // namespace

Tiles sums_tiles(const Shape& shape, int64_t length) { return reduction_tiles(shape.pixels(), shape.c / length); }

void add_chunks(const double* partial, unsigned chunks, unsigned channels, double* first, double* second,
                cudaStream_t stream) {
  add_chunks<<<finish_blocks(channels), kFinishBlock, 0, stream>>>(partial, chunks, channels, first, second);
  launched("add_chunks");
}

uint64_t reduction_workspace(Context& /*context*/, const Program& program, const Node& node) {
  const Shape shape = program.shape(node.at("src"));
  unsigned chunks = sums_tiles(shape, 1).chunks();
  for (const int64_t length : {kVector<float>, kVector<__half>})
    if (shape.c % length == 0) chunks = std::max(chunks, sums_tiles(shape, length).chunks());
  return uint64_t{chunks} * 2 * static_cast<uint64_t>(shape.c) * sizeof(double);
}

Run bind_statistics(Context& /*context*/, const Site& site) {
  const View src = site.view("src");
  return [=, stream = stream_of(site), partial = site.array<double>("workspace"), mean = site.array<float>("mean"),
          variance = site.array<float>("variance"), wide = vectors(src.dtype, {src})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = sums_tiles(src.shape, kLength);
      const unsigned channels = channels_of(src);
      statistics_sums<T, kLength><<<t.grid, t.block, 0, stream>>>(in<T>(src), pixels_of(src), channels, partial);
      statistics_finish<T><<<finish_blocks(channels), kFinishBlock, 0, stream>>>(
          in<T>(src), partial, t.chunks(), channels, static_cast<double>(src.shape.pixels()), mean, variance);
    });
    launched("statistics");
  };
}

Run bind_finish(Context& /*context*/, const Site& site) {
  const FinishArrays arrays{site.array<float>("mean"),  site.array<float>("variance"), site.array<float>("scale"),
                            site.array<float>("shift"), site.array<float>("a"),        site.array<float>("b")};
  return [=, stream = stream_of(site), channels = site.count("a"),
          epsilon = site.node().number("epsilon")](const StepCall&) {
    finish<<<blocks_for(channels), kThreads, 0, stream>>>(arrays, static_cast<unsigned>(channels), epsilon);
    launched("finish");
  };
}

Run bind_apply(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), residual = site.view("residual"), dst = site.view("dst");
  return [=, stream = stream_of(site), a = site.array<float>("a"), b = site.array<float>("b"), relu = site.flag("relu"),
          wide = vectors(src.dtype, {src, residual, dst})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(dst.shape.pixels(), dst.shape.c / kLength);
      apply<T, kLength><<<t.grid, t.block, 0, stream>>>(in<T>(src), in<T>(residual), a, b, out<T>(dst), pixels_of(dst),
                                                        channels_of(dst), relu);
    });
    launched("apply");
  };
}

Run bind_apply_gradient(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), residual = site.view("residual"), dst_grad = site.view("dst_grad");
  const View src_grad = site.view("src_grad"), masked = site.view("masked_grad");
  const View residual_grad = site.view("residual_grad"), src_addend = site.view("src_grad_addend");
  const View residual_addend = site.view("residual_grad_addend");
  const bool wide =
      vectors(src.dtype, {src, residual, dst_grad, src_grad, masked, residual_grad, src_addend, residual_addend});
  return [=, stream = stream_of(site), a = site.array<float>("a"), b = site.array<float>("b"),
          a_grad = site.array<double>("a_grad"), b_grad = site.array<double>("b_grad"),
          partial = site.array<double>("workspace"), relu = site.flag("relu")](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = sums_tiles(src.shape, kLength);
      const unsigned channels = channels_of(src);
      const ApplyGradientArrays<T> arrays{
          in<T>(dst_grad),  in<T>(src),     in<T>(residual),      in<T>(src_addend), in<T>(residual_addend), a, b,
          out<T>(src_grad), out<T>(masked), out<T>(residual_grad)};
      apply_gradient<T, kLength><<<t.grid, t.block, 0, stream>>>(arrays, pixels_of(src), channels, relu, partial);
      add_chunks(partial, t.chunks(), channels, a_grad, b_grad, stream);
    });
    launched("apply_gradient");
  };
}

Run bind_finish_gradient(Context& /*context*/, const Site& site) {
  const FinishGradientArrays arrays{
      site.array<double>("a_grad"),    site.array<double>("b_grad"), site.array<float>("mean"),
      site.array<float>("variance"),   site.array<float>("scale"),   site.array<float>("scale_grad"),
      site.array<float>("shift_grad"), site.array<float>("k"),       site.array<float>("l")};
  return [=, stream = stream_of(site), channels = site.count("scale"), epsilon = site.node().number("epsilon"),
          count = site.node().number("count")](const StepCall&) {
    finish_gradient<<<blocks_for(channels), kThreads, 0, stream>>>(arrays, static_cast<unsigned>(channels), epsilon,
                                                                   count);
    launched("finish_gradient");
  };
}

Run bind_statistics_gradient(Context& /*context*/, const Site& site) {
  const View src = site.view("src"), masked = site.view("masked_grad"), addend = site.view("src_grad_addend");
  const View src_grad = site.view("src_grad");
  return [=, stream = stream_of(site), mean = site.array<float>("mean"), k = site.array<float>("k"),
          l = site.array<float>("l"), a = site.array<float>("a"),
          wide = vectors(src.dtype, {src, masked, addend, src_grad})](const StepCall&) {
    with_form(src.dtype, wide, [&](auto form) {
      using T = typename decltype(form)::type;
      constexpr int kLength = decltype(form)::length;
      const Tiles t = pointwise_tiles(src.shape.pixels(), src.shape.c / kLength);
      const StatisticsGradientArrays<T> arrays{in<T>(src), in<T>(masked),   in<T>(addend), mean, k, l,
                                               a,          out<T>(src_grad)};
      statistics_gradient<T, kLength><<<t.grid, t.block, 0, stream>>>(arrays, pixels_of(src), channels_of(src));
    });
    launched("statistics_gradient");
  };
}

}  // namespace packhorse::cuda

#include "ops/cuda/launch.h"
#include "ops/cuda/update.cuh"

namespace packhorse::cuda {

namespace {

unsigned norm_blocks(int64_t count) { return std::min(blocks_for(count), 1056u); }

}  // namespace

uint64_t norm_workspace(Context& /*context*/, const Program& /*program*/, const Node& node) {
  return norm_blocks(node.at("gradient").count) * sizeof(double);
}

Run bind_norm(Context& /*context*/, const Site& site) {
  return [stream = stream_of(site), gradient = site.array<float>("gradient"), count = site.count("gradient"),
          scale = site.array<float>("loss_scale"), squares = site.array<double>("squares"),
          partial = site.array<double>("workspace")](const StepCall&) {
    const unsigned blocks = norm_blocks(count);
    sum_squares<<<blocks, kNormThreads, 0, stream>>>(gradient, count, partial);
    finish_squares<<<1, kNormThreads, 0, stream>>>(partial, static_cast<int>(blocks), scale, squares);
    launched("sum_squares");
  };
}

Run bind_bias_gradient(Context& /*context*/, const Site& site) {
  const View src = site.view("dst_grad");
  return [=, stream = stream_of(site), dst = site.array<float>("bias_grad")](const StepCall&) {
    sum_columns<<<blocks_for(src.shape.c), kThreads, 0, stream>>>(in<float>(src), dst, src.shape.n, src.shape.c);
    launched("sum_columns");
  };
}

Run bind_finite(Context& /*context*/, const Site& site) {
  return [stream = stream_of(site), words = site.array<float>("words"), squares = site.array<double>("squares"),
          finite = site.array<int32_t>("finite")](const StepCall&) {
    find_finite<<<1, 1, 0, stream>>>(words, squares, finite);
    launched("find_finite");
  };
}

Run bind_loss_scale(Context& /*context*/, const Site& site) {
  return [stream = stream_of(site), old = site.array<float>("loss_scale"), next = site.array<float>("new_loss_scale"),
          finite = site.array<int32_t>("finite"),
          interval = static_cast<float>(site.node().number("interval"))](const StepCall&) {
    next_loss_scale<<<1, 1, 0, stream>>>(old, next, finite, interval, kGreatestLossScale);
    launched("next_loss_scale");
  };
}

Run bind_report(Context& context, const Site& site) {
  return [stream = stream_of(site), call = context.call(), words = site.array<float>("words"),
          squares = site.array<double>("squares"), finite = site.array<int32_t>("finite"),
          scale = site.array<float>("loss_scale")](const StepCall&) {
    write_report<<<1, 1, 0, stream>>>(call, words, squares, finite, scale);
    launched("write_report");
  };
}

size_t call_bytes() { return sizeof(DeviceCall); }

void set_call(const Context& context, const StepCall& call, Stream& main) {
  const DeviceCall value{call.pixels.as<const uint8_t>(),
                         call.labels.as<const int32_t>(),
                         call.images,
                         call.learning_rate,
                         call.gradient_scale,
                         call.step,
                         call.report};
  set_call<<<1, 1, 0, cuda::stream_of(main)>>>(context.call(), value);
  launched("set_call");
}

}  // namespace packhorse::cuda

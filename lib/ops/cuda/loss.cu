#include "ops/cuda/launch.h"
#include "ops/cuda/loss.cuh"

namespace packhorse::cuda {

namespace {

LossArrays arrays_of(const Site& site) {
  return {.logits = site.array<float>("logits"),
          .gradient = site.array<float>("logits_grad"),
          .addend = site.array<float>("logits_grad_addend"),
          .results = site.array<ImageResult>("workspace"),
          .loss_scale = site.array<float>("loss_scale"),
          .classes = site.count("logits"),
          .smoothing = site.node().number("smoothing")};
}

}  // namespace

uint64_t loss_workspace(Context& /*context*/, const Program& program, const Node& node) {
  return sizeof(ImageResult) * static_cast<uint64_t>(program.shape(node.at("logits")).n);
}

Run bind_loss(Context& context, const Site& site) {
  return [=, stream = stream_of(site), arrays = arrays_of(site), images = site.view("logits").shape.n,
          words = site.array<float>("result"), call = context.call()](const StepCall&) {
    softmax_loss<<<static_cast<unsigned>(images), kLossThreads, 0, stream>>>(call, arrays);
    sum_results<<<1, kLossThreads, 0, stream>>>(arrays.results, images, words);
    launched("softmax_loss");
  };
}

Run bind_loss_gradient(Context& context, const Site& site) {
  return [=, stream = stream_of(site), arrays = arrays_of(site), images = site.view("logits").shape.n,
          call = context.call()](const StepCall&) {
    softmax_loss<<<static_cast<unsigned>(images), kLossThreads, 0, stream>>>(call, arrays);
    launched("softmax_loss");
  };
}

}  // namespace packhorse::cuda

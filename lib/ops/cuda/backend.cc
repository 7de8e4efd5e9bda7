#include "ops/cuda/backend.h"

#include <cudnn.h>

#include <array>

#include <fmt/core.h>

#include "ops/cuda/context.h"
#include "ops/cuda/convolution.h"
#include "ops/fusions.h"

namespace packhorse::cuda {

namespace {

constexpr std::array kKernels = {
    Kernel<Context>{&kInput, bind_input},
    Kernel<Context>{&kConvolution, bind_product, product_workspace},
    Kernel<Context>{&kConvolutionDataGradient, bind_product, product_workspace},
    Kernel<Context>{&kConvolutionWeightGradient, bind_product, product_workspace},
    Kernel<Context>{&kStatistics, bind_statistics, reduction_workspace},
    Kernel<Context>{&kFinish, bind_finish},
    Kernel<Context>{&kApply, bind_apply},
    Kernel<Context>{&kApplyGradient, bind_apply_gradient, reduction_workspace},
    Kernel<Context>{&kFinishGradient, bind_finish_gradient},
    Kernel<Context>{&kStatisticsGradient, bind_statistics_gradient},
    Kernel<Context>{&kAdd, bind_add},
    Kernel<Context>{&kAddGradient, bind_add_gradient},
    Kernel<Context>{&kMaxPool, bind_max_pool},
    Kernel<Context>{&kMaxPoolGradient, bind_max_pool_gradient},
    Kernel<Context>{&kAveragePool, bind_average_pool},
    Kernel<Context>{&kAveragePoolGradient, bind_average_pool_gradient},
    Kernel<Context>{&kGlobalPool, bind_global_pool},
    Kernel<Context>{&kGlobalPoolGradient, bind_global_pool_gradient},
    Kernel<Context>{&kCopyChannels, bind_copy_channels},
    Kernel<Context>{&kCopyChannelsGradient, bind_copy_channels_gradient},
    Kernel<Context>{&kFill, bind_fill},
    Kernel<Context>{&kFullyConnected, bind_product, product_workspace},
    Kernel<Context>{&kFullyConnectedDataGradient, bind_product, product_workspace},
    Kernel<Context>{&kFullyConnectedWeightGradient, bind_product, product_workspace},
    Kernel<Context>{&kBiasGradient, bind_bias_gradient},
    Kernel<Context>{&kLoss, bind_loss, loss_workspace},
    Kernel<Context>{&kLossGradient, bind_loss_gradient, loss_workspace},
    Kernel<Context>{&kFinite, bind_finite},
    Kernel<Context>{&kNorm, bind_norm, norm_workspace},
    Kernel<Context>{&kCopy, bind_copy},
    Kernel<Context>{&kRunningStatistics, bind_running_statistics},
    Kernel<Context>{&kLossScale, bind_loss_scale},
    Kernel<Context>{&kReport, bind_report},
    Kernel<Context>{&kSgd, bind_sgd},
};

class CudaBackend : public TableBackend<Context> {
 public:
  CudaBackend(Device& device, Dtype dtype, bool training) : TableBackend(Context(device, dtype, training), kKernels) {}

  std::string name() const override { return "cuda"; }
  std::string description() const override {
    const size_t version = cudnnGetVersion();
    return fmt::format("cuda backend: {}, cuDNN {}.{}.{}", device().name(), version / 10000, version / 100 % 100,
                       version % 100);
  }
  Device& device() const override { return context().device(); }
  bool prefers_side_lane() const override { return true; }
  void begin(const StepCall& call, Stream& main) override { set_call(context(), call, main); }
  std::vector<Rewrite> algebraic() const override { return {move_average_pools, merge_siblings}; }
  void rewrite(Program& program, Program& refresh) override {
    copy_weights(program, refresh, [this](const Program& whole, const Node& node) {
      return weight_copy(context().dtype(), whole, node);
    });
  }
  bool supported(const Program& program, const Node& node) const override {
    return addends_within(node, {"src_grad", "residual_grad", "logits_grad"}) && TableBackend::supported(program, node);
  }
};

}  // namespace

Context::Context(Device& device, Dtype dtype, bool training)
    : device_(&device),
      dtype_(dtype),
      training_(training),
      call_(device, call_bytes()),
      convolutions_(std::make_unique<Convolutions>()) {}
Context::Context(Context&&) noexcept = default;
Context::~Context() = default;

std::vector<Dtype> types() { return {Dtype::f16, Dtype::bf16, Dtype::f32}; }

std::unique_ptr<Backend> make_backend(Dtype dtype, int /*threads*/, bool training) {
  return std::make_unique<CudaBackend>(device(0), dtype, training);
}

}  // namespace packhorse::cuda

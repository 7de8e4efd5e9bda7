#include "ops/reference/backend.h"

#include <array>

#include "base/error.h"
#include "ops/host_nodes.h"

namespace packhorse::reference {

namespace {

constexpr std::array kKernels = {
    Kernel<Context>{&kInput, bind_input},
    Kernel<Context>{&kConvolution, bind_convolution},
    Kernel<Context>{&kConvolutionDataGradient, bind_convolution_data_gradient},
    Kernel<Context>{&kConvolutionWeightGradient, bind_convolution_weight_gradient},
    Kernel<Context>{&kStatistics, bind_statistics},
    Kernel<Context>{&kFinish, bind_finish},
    Kernel<Context>{&kApply, bind_apply},
    Kernel<Context>{&kApplyGradient, bind_apply_gradient},
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
    Kernel<Context>{&kFullyConnected, bind_fully_connected},
    Kernel<Context>{&kFullyConnectedDataGradient, bind_fully_connected_data_gradient},
    Kernel<Context>{&kFullyConnectedWeightGradient, bind_fully_connected_weight_gradient},
    Kernel<Context>{&kBiasGradient, bind_bias_gradient},
    Kernel<Context>{&kLoss, bind_loss},
    Kernel<Context>{&kLossGradient, bind_loss_gradient},
    Kernel<Context>{&kFinite, bind_finite<Context>},
    Kernel<Context>{&kNorm, bind_norm},
    Kernel<Context>{&kCopy, bind_copy},
    Kernel<Context>{&kRunningStatistics, bind_running_statistics},
    Kernel<Context>{&kLossScale, bind_loss_scale<Context>},
    Kernel<Context>{&kReport, bind_report<Context>},
    Kernel<Context>{&kSgd, bind_sgd},
};

class ReferenceBackend : public TableBackend<Context> {
 public:
  ReferenceBackend() : TableBackend(Context{}, kKernels) {}
  std::string name() const override { return "reference"; }
  void rewrite(Program& program, Program& /*refresh*/) override { expand_bodies(program); }
  // No network shares weights, whose gradients would be sums.
  bool supported(const Program& program, const Node& node) const override {
    return addends_within(node, {"src_grad", "residual_grad", "logits_grad"}) && TableBackend::supported(program, node);
  }
};

}  // namespace

std::vector<Dtype> types() { return {Dtype::f32}; }

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.dtype != Dtype::f32)
    throw Error({"the reference backend computes in f32 only", "dtype " + name_of(options.dtype),
                 "use dtype f32, or the backend cpu"});
  return std::make_unique<ReferenceBackend>();
}

}  // namespace packhorse::reference

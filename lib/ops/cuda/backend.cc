#include "ops/cuda/backend.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/core.h>

#include "ops/cuda/context.h"
#include "ops/cuda/convolution.h"
#include "ops/cuda/passes.h"
#include "ops/fusions.h"
#include "ops/raw_values.h"

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
    Kernel<Context>{&kUpdates, bind_updates},
    Kernel<Context>{&kConvolutionStatistics, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kApplyConvolutionStatistics, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kSumConvolutionStatistics, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kProjectedSumConvolutionStatistics, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kApplyConvolutionWeightGradient, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kDataGradientMask, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kDataGradientSumMask, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kDataGradientProjectedSumMask, bind_fused_product, fused_product_workspace},
    Kernel<Context>{&kApplyMaxPool, bind_apply_max_pool},
    Kernel<Context>{&kApplyGlobalPool, bind_apply_global_pool},
    Kernel<Context>{&kGlobalPoolGradientMask, bind_global_pool_gradient_mask, reduction_workspace},
    Kernel<Context>{&kMaxPoolStatisticsGradient, bind_max_pool_statistics_gradient},
};

// What lies in memory between the nodes of the body is a result of the whole: the nodes run one after the other.
bool runs_its_body(const Node& node) { return node.is(kScatter) || node.is(kJoin) || node.is(kStatisticsMaxPool); }
bool is_fused_product(const Node& node) {
  const bool fused =
      std::any_of(std::begin(kFusedKinds), std::end(kFusedKinds), [&](const NodeKind* kind) { return node.is(*kind); });
  return fused && (node.find("weight") != nullptr || node.find("weight_grad") != nullptr);
}

class CudaBackend : public TableBackend<Context> {
 public:
  CudaBackend(Device& device, const BackendOptions& options) : TableBackend(Context(device, options), kKernels) {}

  std::string name() const override { return "cuda"; }
  std::string description() const override {
    return fmt::format("cuda backend: {}, {}", device().name(), cudnn_name());
  }
  Choices choices() const override { return context().convolutions().choices(); }
  Device& device() const override { return context().device(); }
  bool prefers_side_lane() const override { return true; }
  void begin(const StepCall& call, Stream& main) override { set_call(context(), call, main); }
  // Only f16 has fused plans: without them raw values gain nothing.
  std::vector<Rewrite> algebraic() const override {
    if (!context().training() || context().dtype() != Dtype::f16) return {move_average_pools, merge_siblings};
    return {std::begin(kRawValues), std::end(kRawValues)};
  }
  void rewrite(Program& program, Program& refresh) override {
    pad_input(program);
    if (context().dtype() == Dtype::f16)
      for (const Fusion fusion : kConvolutionFusions) fusion(program, *this);
    copy_weights(program, refresh, [this](const Program& whole, const Node& node) {
      return weight_copy(context().dtype(), whole, node);
    });
    fuse_updates(program, *this);
  }
  bool supported(const Program& program, const Node& node) const override {
    if (runs_its_body(node)) return true;
    if (node.is(kUpdates)) return supports_updates(program, node);
    if (is_fused_product(node)) return supports_fused(context(), program, node);
    return addends_within(node, {"src_grad", "residual_grad", "logits_grad"}) && TableBackend::supported(program, node);
  }
  bool worth(const Program& program, const std::vector<Node>& fused, const std::vector<Node>& plain) const override {
    return worth_fusing(context(), program, fused, plain);
  }
  uint64_t workspace(const Program& program, const Node& node) override {
    if (!runs_its_body(node)) return TableBackend::workspace(program, node);
    uint64_t most = 0;
    for (const Node& inner : node.body) most = std::max(most, TableBackend::workspace(program, inner));
    return most;
  }
  Run bind(const Site& site) override {
    const Node& node = site.node();
    if (!runs_its_body(node)) return TableBackend::bind(site);
    std::vector<Run> runs;
    for (Node inner : node.body) {
      if (const Operand* workspace = node.find("workspace")) inner.writes.push_back(*workspace);
      runs.push_back(TableBackend::bind(site.of(inner)));
    }
    return [runs](const StepCall& call) {
      for (const Run& run : runs) run(call);
    };
  }
};

}  // namespace

Context::Context(Device& device, const BackendOptions& options)
    : device_(&device),
      dtype_(options.dtype),
      training_(options.training),
      call_(device, call_bytes()),
      zeros_(device, kMostChannels * sizeof(float)),
      ones_(device, kMostChannels * sizeof(float)),
      convolutions_(std::make_unique<Convolutions>(device, options)) {
  const std::unique_ptr<Stream> stream = device.make_stream(false);
  fill_numbers(ones(), kMostChannels, 1, stream_of(*stream));
  stream->synchronize();
}
Context::Context(Context&&) noexcept = default;
Context::~Context() = default;

std::vector<Dtype> types() { return {Dtype::f16, Dtype::bf16, Dtype::f32}; }

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  return std::make_unique<CudaBackend>(device(options.device), options);
}

}  // namespace packhorse::cuda

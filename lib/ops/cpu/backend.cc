#include "ops/cpu/backend.h"

#include <algorithm>
#include <array>
#include <utility>

#include <omp.h>

#include "base/error.h"
#include "ops/cpu/context.h"
#include "ops/cpu/convolutions.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/rewrites.h"
#include "ops/host_nodes.h"

namespace packhorse::cpu {

namespace {

constexpr std::array kKernels = {
    Kernel<Context>{&kInput, bind_input},
    Kernel<Context>{&kConvolution, bind_convolution, convolution_workspace},
    Kernel<Context>{&kConvolutionDataGradient, bind_convolution_data_gradient, convolution_workspace},
    Kernel<Context>{&kConvolutionWeightGradient, bind_convolution_weight_gradient, convolution_workspace},
    Kernel<Context>{&kStatistics, bind_statistics, batch_norm_workspace},
    Kernel<Context>{&kFinish, bind_finish},
    Kernel<Context>{&kApply, bind_apply},
    Kernel<Context>{&kApplyGradient, bind_apply_gradient, batch_norm_workspace},
    Kernel<Context>{&kFinishGradient, bind_finish_gradient},
    Kernel<Context>{&kStatisticsGradient, bind_statistics_gradient},
    Kernel<Context>{&kBatchNormGradient, bind_batch_norm_gradient, batch_norm_workspace},
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
    Kernel<Context>{&kFullyConnected, bind_fully_connected, fully_connected_workspace},
    Kernel<Context>{&kFullyConnectedDataGradient, bind_fully_connected_data_gradient, fully_connected_workspace},
    Kernel<Context>{&kFullyConnectedWeightGradient, bind_fully_connected_weight_gradient, fully_connected_workspace},
    Kernel<Context>{&kBiasGradient, bind_bias_gradient},
    Kernel<Context>{&kLoss, bind_loss, loss_workspace},
    Kernel<Context>{&kLossGradient, bind_loss_gradient, loss_workspace},
    Kernel<Context>{&kLossWithGradient, bind_loss_with_gradient, loss_workspace},
    Kernel<Context>{&kFinite, bind_finite<Context>},
    Kernel<Context>{&kNorm, bind_norm, sgd_workspace},
    Kernel<Context>{&kSgd, bind_sgd, sgd_workspace},
    Kernel<Context>{&kSgdWithNorm, bind_sgd_with_norm, sgd_workspace},
    Kernel<Context>{&kRunningStatistics, bind_running_statistics},
    Kernel<Context>{&kCopy, bind_copy},
    Kernel<Context>{&kLossScale, bind_loss_scale<Context>},
    Kernel<Context>{&kReport, bind_report<Context>},
};

class CpuBackend : public TableBackend<Context> {
 public:
  CpuBackend(Dtype dtype, int threads, bool training) : TableBackend(Context(dtype, threads, training), kKernels) {
    enter();
  }

  std::string name() const override { return "cpu"; }
  std::string description() const override { return "cpu backend: " + instructions(); }
  // oneDNN reads the number of threads from the calling thread's OpenMP setting, both when it makes a primitive and
  // when it runs one.
  void enter() override {
    if (omp_get_max_threads() != context().threads()) omp_set_num_threads(context().threads());
  }
  std::vector<Rewrite> algebraic() const override { return {move_average_pools, merge_siblings}; }
  void rewrite(Program& program, Program& refresh) override {
    for (const Fusion fusion : kFusions) fusion(program, *this);
    copy_weights(context(), program, refresh);
    round_operands(context(), program);
  }
  // What its programs do not ask for is not there: the gradient of a residual, sums of several gradients of weights, of
  // features or of logits, and what pools and gradients of raw values need.
  bool supported(const Program& program, const Node& node) const override {
    const bool residual = node.is(kApplyGradient) && node.find("residual") != nullptr;
    const bool adds = node.find("src_grad_addend") != nullptr && node.is(kFullyConnectedDataGradient);
    const bool raw = node.find("sign") != nullptr || node.find("masked_grad") != nullptr;
    return !residual && !adds && !raw && addends_within(node, {"src_grad"}) && TableBackend::supported(program, node);
  }
};

// What oneDNN will use: the machine's instructions, unless DNNL_MAX_CPU_ISA allows fewer.
bool has(dnnl::cpu_isa isa) {
  const auto needed = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

}  // namespace

Context::Context(Dtype dtype, int threads, bool training)
    : dtype_(dtype), threads_(threads), training_(training), convolutions_(std::make_unique<Convolutions>(training)) {}
Context::Context(Context&&) noexcept = default;
Context::~Context() = default;

std::string instructions() {
  constexpr std::array<std::pair<dnnl::cpu_isa, const char*>, 8> kNewestFirst = {{
      {dnnl::cpu_isa::avx512_core_amx, "avx512_core_amx"},
      {dnnl::cpu_isa::avx512_core_bf16, "avx512_core_bf16"},
      {dnnl::cpu_isa::avx512_core_vnni, "avx512_core_vnni"},
      {dnnl::cpu_isa::avx512_core, "avx512_core"},
      {dnnl::cpu_isa::avx2_vnni, "avx2_vnni"},
      {dnnl::cpu_isa::avx2, "avx2"},
      {dnnl::cpu_isa::avx, "avx"},
      {dnnl::cpu_isa::sse41, "sse41"},
  }};
  const auto* const used =
      std::find_if(kNewestFirst.begin(), kNewestFirst.end(), [](const auto& isa) { return has(isa.first); });
  return "kernels " + kernel_instructions() + ", oneDNN " + onednn_version() + " " +
         (used == kNewestFirst.end() ? "as compiled" : used->second);
}

std::vector<Dtype> types() {
  if (!has(dnnl::cpu_isa::avx512_core)) return {Dtype::f32};
  if (!has(dnnl::cpu_isa::avx512_core_bf16)) return {Dtype::f32, Dtype::bf16};
  return {Dtype::bf16, Dtype::f32};
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.dtype == Dtype::bf16 && !has(dnnl::cpu_isa::avx512_core))
    throw Error({"this CPU cannot compute in bf16: it has no AVX-512", "dtype bf16", "use dtype f32 on this machine"});
  return std::make_unique<CpuBackend>(options.dtype, options.threads, options.training);
}

}  // namespace packhorse::cpu

// The CPU backend: oneDNN computes convolutions and matrix products, our own kernels compute everything else.
//
// Rule: only onednn.h includes dnnl.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/backend.h"
#include "ops/nodes.h"
#include "tensor/types.h"

namespace packhorse::cpu {

/// f32 everywhere; bf16 with AVX-512, and before f32 where the CPU has instructions for it.
std::vector<Dtype> types();
/// What the kernels run on here: "kernels x86-64-v4, oneDNN avx512_core". oneDNN's is the newest of the instruction
/// sets that it may use (the machine's, and those that DNNL_MAX_CPU_ISA allows).
std::string instructions();
/// Throws an Error if the CPU lacks the instructions that `dtype` needs.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

/// What the kernels of one backend share.
class Context;

Run bind_input(Context& context, const Site& site);
Run bind_convolution(Context& context, const Site& site);
Run bind_convolution_data_gradient(Context& context, const Site& site);
Run bind_convolution_weight_gradient(Context& context, const Site& site);
Run bind_statistics(Context& context, const Site& site);
Run bind_finish(Context& context, const Site& site);
Run bind_apply(Context& context, const Site& site);
Run bind_apply_gradient(Context& context, const Site& site);
Run bind_finish_gradient(Context& context, const Site& site);
Run bind_statistics_gradient(Context& context, const Site& site);
Run bind_batch_norm_gradient(Context& context, const Site& site);
Run bind_add(Context& context, const Site& site);
Run bind_add_gradient(Context& context, const Site& site);
Run bind_max_pool(Context& context, const Site& site);
Run bind_max_pool_gradient(Context& context, const Site& site);
Run bind_average_pool(Context& context, const Site& site);
Run bind_average_pool_gradient(Context& context, const Site& site);
Run bind_global_pool(Context& context, const Site& site);
Run bind_global_pool_gradient(Context& context, const Site& site);
Run bind_copy_channels(Context& context, const Site& site);
Run bind_copy_channels_gradient(Context& context, const Site& site);
Run bind_fill(Context& context, const Site& site);
Run bind_fully_connected(Context& context, const Site& site);
Run bind_fully_connected_data_gradient(Context& context, const Site& site);
Run bind_fully_connected_weight_gradient(Context& context, const Site& site);
Run bind_bias_gradient(Context& context, const Site& site);
Run bind_loss(Context& context, const Site& site);
Run bind_loss_gradient(Context& context, const Site& site);
Run bind_loss_with_gradient(Context& context, const Site& site);
Run bind_norm(Context& context, const Site& site);
Run bind_running_statistics(Context& context, const Site& site);
Run bind_copy(Context& context, const Site& site);
Run bind_sgd(Context& context, const Site& site);
Run bind_sgd_with_norm(Context& context, const Site& site);

// Bytes of workspace.
uint64_t convolution_workspace(Context& context, const Program& program, const Node& node);
uint64_t fully_connected_workspace(Context& context, const Program& program, const Node& node);
uint64_t batch_norm_workspace(Context& context, const Program& program, const Node& node);
uint64_t loss_workspace(Context& context, const Program& program, const Node& node);
uint64_t sgd_workspace(Context& context, const Program& program, const Node& node);

/// The weights in the order of elements that oneDNN asks for, of a convolution or its data gradient: the name of a
/// layout for Value::layout, empty for the plain order.
struct WeightLayout {
  std::string name;
  uint64_t bytes = 0;
};
WeightLayout weight_layout(Context& context, const Program& program, const Node& node);

}  // namespace packhorse::cpu

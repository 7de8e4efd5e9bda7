// What the nodes of one backend share: the device, and where its kernels find what comes with a call.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "device/cuda/cuda_device.h"
#include "ops/backend.h"
#include "ops/nodes.h"
#include "tensor/types.h"

namespace packhorse::cuda {

struct DeviceCall;   // words.cuh
class Convolutions;  // convolution.cc

class Context {
 public:
  Context(Device& device, const BackendOptions& options);
  Context(Context&&) noexcept;
  ~Context();

  Device& device() const { return *device_; }
  Dtype dtype() const { return dtype_; }
  bool training() const { return training_; }
  Convolutions& convolutions() const { return *convolutions_; }
  /// On the device; written before each run.
  DeviceCall* call() const { return call_.address().as<DeviceCall>(); }
  // For kMostChannels channels: what cuDNN takes for a mean and an inverse deviation.
  static constexpr int64_t kMostChannels = 16384;
  float* zeros() const { return zeros_.address().as<float>(); }
  float* ones() const { return ones_.address().as<float>(); }

 private:
  Device* device_;
  Dtype dtype_;
  bool training_;
  DeviceMemory call_, zeros_, ones_;
  std::unique_ptr<Convolutions> convolutions_;
};

size_t call_bytes();
/// Enqueues that the device's copy of the call becomes this one.
void set_call(const Context& context, const StepCall& call, Stream& main);

Run bind_input(Context& context, const Site& site);
/// Of each product: convolutions, fully connected layers, their gradients.
Run bind_product(Context& context, const Site& site);
Run bind_statistics(Context& context, const Site& site);
Run bind_finish(Context& context, const Site& site);
Run bind_apply(Context& context, const Site& site);
Run bind_apply_gradient(Context& context, const Site& site);
Run bind_finish_gradient(Context& context, const Site& site);
Run bind_statistics_gradient(Context& context, const Site& site);
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
Run bind_bias_gradient(Context& context, const Site& site);
Run bind_loss(Context& context, const Site& site);
Run bind_loss_gradient(Context& context, const Site& site);
Run bind_finite(Context& context, const Site& site);
Run bind_norm(Context& context, const Site& site);
Run bind_copy(Context& context, const Site& site);
Run bind_running_statistics(Context& context, const Site& site);
Run bind_loss_scale(Context& context, const Site& site);
Run bind_report(Context& context, const Site& site);
Run bind_sgd(Context& context, const Site& site);
/// False if weights have two copies, or copies of another kind.
bool supports_updates(const Program& program, const Node& node);
Run bind_updates(Context& context, const Site& site);

// Of fused nodes (ops/fusions.h).
/// True if its operands lie as cuDNN wants them and it has a plan.
bool supports_fused(const Context& context, const Program& program, const Node& node);
Run bind_fused_product(Context& context, const Site& site);
Run bind_apply_max_pool(Context& context, const Site& site);
Run bind_apply_global_pool(Context& context, const Site& site);
Run bind_global_pool_gradient_mask(Context& context, const Site& site);
Run bind_max_pool_statistics_gradient(Context& context, const Site& site);

// Bytes of workspace.
uint64_t product_workspace(Context& context, const Program& program, const Node& node);
uint64_t fused_product_workspace(Context& context, const Program& program, const Node& node);
uint64_t reduction_workspace(Context& context, const Program& program, const Node& node);
uint64_t loss_workspace(Context& context, const Program& program, const Node& node);
uint64_t norm_workspace(Context& context, const Program& program, const Node& node);

}  // namespace packhorse::cuda

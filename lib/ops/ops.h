// The operations of a network: what each one computes, defined once for all backends. A backend that cannot run an
// operation throws when it makes it, before the first step.
//
// Rule: an operation is made once, for fixed views, before the first step; running it allocates nothing. Activations
// and their gradients are channels last in the executor's dtype; pooled features, logits, parameters, statistics and
// all their gradients are f32. The same input gives the same bits, whatever ran before.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tensor/types.h"

namespace packhorse {

/// Added to the variance before the square root.
inline constexpr float kBatchNormEpsilon = 1e-5f;

/// Batch norm uses the batch's statistics in training and the running statistics in inference.
enum class Phase { training, inference };

class Operation {
 public:
  virtual ~Operation() = default;
  virtual void forward(Phase phase) = 0;
  /// Writes the destination again, with the same bits, from the sources and from what forward() kept.
  virtual void recompute() { forward(Phase::training); }
  virtual void backward() = 0;
  /// Called after the f32 parameters got new values.
  virtual void parameters_changed() {}
};

/// The gradient of a source, which backward writes. Without memory (null `view.data`) it is not needed; with
/// `accumulate` it is added to the values already there.
struct Gradient {
  View view;
  bool accumulate = false;
};

/// dst(n,y,x,o) = sum over c,i,j of src(n, y*stride+i-pad, x*stride+j-pad, c) * weight(o,c,i,j); zeros outside the
/// image.
struct ConvolutionTask {
  std::string name;
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  int kernel = 1, stride = 1, pad = 0;
  const float* weight = nullptr;  // (O, C, K, K)
  float* weight_grad = nullptr;
};

/// dst = scale * (src - mean) / sqrt(variance + epsilon) + shift, then ReLU if `relu`, for each channel; the variance
/// is biased (divided by N*H*W). The derivative of ReLU at 0 is 0. src_grad may use the memory of src.
struct BatchNormTask {
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  bool relu = false;
  const float *scale = nullptr, *shift = nullptr;                    // (C)
  float *scale_grad = nullptr, *shift_grad = nullptr;                // (C)
  const float *running_mean = nullptr, *running_variance = nullptr;  // (C)
  float *batch_mean = nullptr, *batch_variance = nullptr;            // (C)
};

/// dst = a + b, then ReLU if `relu`.
struct AddTask {
  View a, b, dst;
  Gradient a_grad, b_grad;
  View dst_grad;
  bool relu = false;
};

/// Maximum or average over a window. A maximum ignores the padding; an average counts it as zeros and always divides by
/// kernel². The gradient of a maximum goes to the first of several equal maxima, rows first.
struct PoolTask {
  bool maximum = false;
  int kernel = 1, stride = 1, pad = 0;
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  uint8_t* argmax = nullptr;  ///< max pool in training: (N, H, W, C) of dst, place in the window
};

/// dst(n,c) = mean over the pixels.
struct GlobalPoolTask {
  View src;
  Gradient src_grad;
  float* dst = nullptr;             // (N, C)
  const float* dst_grad = nullptr;  // (N, C)
};

/// dst(n,o) = sum over c of src(n,c) * weight(o,c) + bias(o).
struct FullyConnectedTask {
  std::string name;
  Dtype dtype = Dtype::f32;  ///< the operands of products may be rounded to it
  int64_t n = 0, c = 0, o = 0;
  const float* src = nullptr;                      // (N, C)
  float* src_grad = nullptr;                       // (N, C)
  float* dst = nullptr;                            // (N, O)
  const float* dst_grad = nullptr;                 // (N, O)
  const float *weight = nullptr, *bias = nullptr;  // (O, C), (O)
  float *weight_grad = nullptr, *bias_grad = nullptr;
};

/// Softmax cross entropy against the target (1 - smoothing) * one_hot + smoothing / classes. An image with a label < 0
/// has loss 0 and gradient 0. Top-k counts an image if fewer than k logits are greater than the label's logit; an equal
/// logit at a lower index counts as greater. If the label's logit is NaN, the image never counts as correct.
struct LossTask {
  int64_t n = 0, classes = 0;
  float label_smoothing = 0;
  const float* logits = nullptr;  // (N, classes)
  float* logits_grad = nullptr;   // (N, classes)
};

/// The result of one batch on this rank.
struct BatchResult {
  double loss_sum = 0;   ///< cross entropy summed over the counted images, label smoothing included
  uint64_t counted = 0;  ///< images with a label
  uint64_t top1 = 0, top5 = 0;
};

class Loss {
 public:
  virtual ~Loss() = default;
  /// Throws a UsageError for a label >= classes, before it writes anything.
  virtual BatchResult run(std::span<const int32_t> labels, float gradient_scale) = 0;
};

/// dst(n,y,x,c) = (pixel - mean[c]) * scale[c].
struct InputTask {
  View dst;
  std::array<float, 3> mean{}, scale{};
};

class Input {
 public:
  virtual ~Input() = default;
  /// If there are fewer images than the batch holds, the rest is filled with zeros.
  virtual void run(std::span<const uint8_t> pixels) = 0;
};

/// Makes operations for one device and one executor.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  /// Called at the start of a step, on the thread that runs the step.
  virtual void enter() {}
  virtual std::unique_ptr<Operation> make(const ConvolutionTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const BatchNormTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const AddTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const PoolTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const GlobalPoolTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const FullyConnectedTask& task) = 0;
  virtual std::unique_ptr<Loss> make(const LossTask& task) = 0;
  virtual std::unique_ptr<Input> make(const InputTask& task) = 0;
  /// Called once after the last make(): allocates the scratch memory that the operations share.
  virtual void ready() {}
  virtual uint64_t packed_bytes() const { return 0; }     ///< the backend's own copies of parameters
  virtual uint64_t workspace_bytes() const { return 0; }  ///< scratch memory
};

}  // namespace packhorse

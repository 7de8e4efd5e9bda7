// What each operation means, once, for every backend; a backend that cannot honour it throws before the first step.
//
// Rule of the room: an operation is made once, for fixed views, before the first step; running it allocates nothing.
// Activations and their gradients are channels last in the executor's dtype; pooled features, logits, parameters,
// statistics and all their gradients are f32. The same input gives the same bits, whatever ran before.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tensor/types.h"

namespace packhorse {

/// Added to the variance under the root.
inline constexpr float kBatchNormEpsilon = 1e-5f;

/// Whether batch norm takes the batch's statistics or the running ones.
enum class Phase { training, inference };

class Operation {
 public:
  virtual ~Operation() = default;
  virtual void forward(Phase pass) = 0;
  /// Writes the destination once more, the same bits, from the sources and what forward() kept.
  virtual void recompute() { forward(Phase::training); }
  virtual void backward() = 0;
  /// The f32 parameters have new values.
  virtual void parameters_changed() {}
};

/// What a task reads and writes in backward. A source's gradient without memory is not wanted; with `accumulate` it is
/// added to what stands there.
struct Gradient {
  View view;
  bool accumulate = false;
};

/// dst(n,y,x,o) = sum over c,i,j of src(n, y*stride+i-pad, x*stride+j-pad, c) * weight(o,c,i,j); zeros outside.
struct ConvolutionTask {
  std::string name;
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  int kernel = 1, stride = 1, pad = 0;
  const float* weight = nullptr;  // (O, C, K, K)
  float* weight_grad = nullptr;
};

/// dst = scale * (src - mean) / sqrt(variance + epsilon) + shift, then ReLU where asked, for each channel; the variance
/// is biased (divided by N*H*W). The ReLU's derivative at 0 is 0. src_grad may be src's own memory.
struct BatchNormTask {
  std::string name;
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  bool relu = false;
  const float *scale = nullptr, *shift = nullptr;                    // (C)
  float *scale_grad = nullptr, *shift_grad = nullptr;                // (C)
  const float *running_mean = nullptr, *running_variance = nullptr;  // (C)
  float *batch_mean = nullptr, *batch_variance = nullptr;            // (C)
};

/// dst = a + b, then ReLU where asked.
struct AddTask {
  std::string name;
  View a, b, dst;
  Gradient a_grad, b_grad;
  View dst_grad;
  bool relu = false;
};

/// Maximum or average of a window. Outside the image a maximum sees nothing, an average sees zeros and divides by
/// kernel² all the same. The gradient of a maximum goes to the first of equals, rows first.
struct PoolTask {
  std::string name;
  bool maximum = false;
  int kernel = 1, stride = 1, pad = 0;
  View src, dst;
  Gradient src_grad;
  View dst_grad;
  uint8_t* argmax = nullptr;  ///< maximum in training: (N, H, W, C) of dst, the argmax's place in its window
};

/// dst(n,c) = mean over the pixels.
struct GlobalPoolTask {
  std::string name;
  View src;
  Gradient src_grad;
  float* dst = nullptr;             // (N, C)
  const float* dst_grad = nullptr;  // (N, C)
};

/// dst(n,o) = sum over c of src(n,c) * weight(o,c) + bias(o).
struct FullyConnectedTask {
  std::string name;
  Dtype dtype = Dtype::f32;  ///< what products may be made of
  int64_t n = 0, c = 0, o = 0;
  const float* src = nullptr;                      // (N, C)
  float* src_grad = nullptr;                       // (N, C)
  float* dst = nullptr;                            // (N, O)
  const float* dst_grad = nullptr;                 // (N, O)
  const float *weight = nullptr, *bias = nullptr;  // (O, C), (O)
  float *weight_grad = nullptr, *bias_grad = nullptr;
};

/// Softmax cross entropy against the target (1 - smoothing) * one_hot + smoothing / classes. An image with a label < 0
/// has loss 0 and gradient 0. Top-k counts an image whose label's logit has fewer than k greater ones, equal ones at
/// lower index counted as greater; a logit that is not a number never counts as right.
struct LossTask {
  int64_t n = 0, classes = 0;
  float label_smoothing = 0;
  const float* logits = nullptr;  // (N, classes)
  float* logits_grad = nullptr;   // (N, classes)
};

/// What one batch gave on this rank.
struct BatchResult {
  double loss_sum = 0;   ///< cross entropy summed over the counted images, label smoothing included
  uint64_t counted = 0;  ///< images with a label
  uint64_t top1 = 0, top5 = 0;
};

class Loss {
 public:
  virtual ~Loss() = default;
  /// Throws a UsageError for a label >= classes, before anything is written.
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
  /// Fewer images than the batch: the rest become zeros.
  virtual void run(std::span<const uint8_t> pixels) = 0;
};

/// Makes operations for one device and one executor.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  /// Called where a step begins, on the thread that runs it.
  virtual void enter() {}
  virtual std::unique_ptr<Operation> make(const ConvolutionTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const BatchNormTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const AddTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const PoolTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const GlobalPoolTask& task) = 0;
  virtual std::unique_ptr<Operation> make(const FullyConnectedTask& task) = 0;
  virtual std::unique_ptr<Loss> make(const LossTask& task) = 0;
  virtual std::unique_ptr<Input> make(const InputTask& task) = 0;
  /// Called once after the last make(): scratch that operations share gets its memory.
  virtual void ready() {}
  virtual uint64_t packed_bytes() const { return 0; }     ///< its own copies of parameters
  virtual uint64_t workspace_bytes() const { return 0; }  ///< scratch
};

}  // namespace packhorse

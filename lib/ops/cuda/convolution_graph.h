// The one place that asks cuDNN for convolutions: what is to be computed, as a description that compares and prints,
// and the plans that the library has for it.
//
// Rules:
// - Activations are dense and channels last, (N, H, W, C). Weights are (O, K, K, C). All pointers are on the device and
//   16-byte aligned, workspaces 256-byte aligned.
// - What the library refuses is no error: then there are no candidates, but a reason. Which of the candidates is the
//   fastest, only a measurement says.
// - Fully connected is a 1×1 convolution of 1×1 images.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/types.h"

struct cudnnContext;  // a cudnnHandle_t points to one

namespace packhorse {

enum class ConvolutionPass { forward, data_gradient, weight_gradient };

/// What a convolution does to its source on the way in; before its mask, a data gradient does the same again.
enum class ConvolutionApply {
  none,
  apply,         ///< relu(src * a + b)
  sum,           ///< relu(src * a + b + residual)
  projected_sum  ///< relu(src * a + b + residual_src * residual_a + residual_b)
};

/// "cuDNN 9.19.0".
std::string cudnn_name();

/// Whatever sets a plan apart. The fields that are fused are off in a plain convolution.
struct ConvolutionSpec {
  ConvolutionPass pass = ConvolutionPass::forward;
  /// Of activations, weights and their gradients: f16, bf16 or f32. Products are summed in f32.
  Dtype dtype = Dtype::f16;
  bool tf32 = false;  ///< of f32: products of operands that are rounded to 11 bits, as tensor cores take them

  int64_t n = 0, h = 0, w = 0, c = 0;  ///< the source, (N, H, W, C)
  int64_t o = 0;                       ///< output channels
  int64_t kernel = 1, stride = 1, pad = 0;

  /// Forward: all of them; a sum is written. Weight gradient: none, apply. a and b are in the operands' type.
  ConvolutionApply prologue = ConvolutionApply::none;
  /// Forward: the sums over the pixels of dst and of its squares, a channel.
  bool statistics = false;
  /// Data gradient: another gradient of the source is added. Before a mask, it is an operand; without one, it is what
  /// src_grad held before.
  bool addend = false;
  /// Data gradient: 0 where the ReLU of the source's `apply` was, then the reductions of the batch norm before it. a
  /// and b are f32.
  ConvolutionApply mask = ConvolutionApply::none;

  int64_t dst_h() const { return (h + 2 * pad - kernel) / stride + 1; }
  int64_t dst_w() const { return (w + 2 * pad - kernel) / stride + 1; }
  auto operator<=>(const ConvolutionSpec&) const = default;  // NOLINT(modernize-use-nullptr): of the compiler's own 0
  /// One line that stays the same from version to version: "forward f16 n256 h56 w56 c64 o256 k1 s1 p0 apply
  /// statistics".
  std::string text() const;
};

/// The tensors of a convolution. The names are the roles of the node kinds (ops/nodes.h, ops/fusions.h); in addition:
enum class Port {
  src,
  weight,
  dst,
  dst_grad,
  src_grad,
  weight_grad,
  a,
  b,
  residual,
  residual_src,
  residual_a,
  residual_b,
  sum,
  sum_of_values,   ///< of dst, (O) f32
  sum_of_squares,  ///< of dst, (O) f32
  addend,
  masked_grad,
  a_grad,  ///< sum of masked_grad * src, (C) f32
  b_grad,  ///< sum of masked_grad, (C) f32
  residual_a_grad,
  residual_b_grad,
  zeros,  ///< (C) f32, read: what the library takes for a mean
  ones,   ///< (C) f32, read: what the library takes for an inverse deviation
  // The same for the second of two batch norms: the library wants tensors of its own for it.
  residual_zeros,
  residual_ones
};
inline constexpr size_t kPorts = 25;
/// "sum_of_values".
std::string_view name_of(Port port);

struct PortUse {
  Port port = Port::src;
  Shape shape{};  ///< of a weight: (O, K, K, C)
  Dtype dtype = Dtype::f32;
  bool read = false, written = false;
};
/// What a plan of this convolution reads and writes. Throws an Error for a description that means nothing.
std::vector<PortUse> ports_of(const ConvolutionSpec& spec);

/// Where a convolution's tensors are: null where it has none.
class PortPointers {
 public:
  void*& operator[](Port port) { return pointers_[static_cast<size_t>(port)]; }
  void* operator[](Port port) const { return pointers_[static_cast<size_t>(port)]; }

 private:
  std::array<void*, kPorts> pointers_{};
};

struct PlanOptions {
  bool deterministic = false;                                     ///< only engines that the library calls deterministic
  int64_t workspace_limit = std::numeric_limits<int64_t>::max();  ///< bytes
};

struct PlanCandidate {
  /// As the library counts its engines and their settings: "eng24_k2=12_k3=0". The same convolution on the same version
  /// of the library and the same kind of GPU has it again, so a plan cache and a checkpoint can keep a choice by it.
  std::string engine;
  int64_t workspace = 0;          ///< bytes that execute() takes
  int64_t plan_workspace = 0;     ///< how many of them are the library's; the others hold results that nobody reads
  bool deterministic = true;      ///< the library's claim
  bool runtime_compiled = false;  ///< its kernels are compiled when the plan is built, with the driver's help
  bool built = false;
  std::string refusal;  ///< why it could not be built; empty if nobody tried, or if it is
};

/// The library's plans for one convolution, its favourites first. Belongs to one thread at a time.
class ConvolutionPlans {
 public:
  /// For the handle's GPU. Throws an Error for a description that means nothing.
  ConvolutionPlans(const ConvolutionSpec& spec, cudnnContext* handle, const PlanOptions& options = {});
  /// For a GPU that need not be there, from its properties as the library writes them (JSON). Such plans can be built,
  /// not executed.
  ConvolutionPlans(const ConvolutionSpec& spec, const std::string& device_properties, const PlanOptions& options = {});
  ~ConvolutionPlans();
  ConvolutionPlans(ConvolutionPlans&&) noexcept;
  ConvolutionPlans& operator=(ConvolutionPlans&&) noexcept;

  const ConvolutionSpec& spec() const;
  /// Empty: the library refuses the convolution, see refusal().
  const std::vector<PlanCandidate>& candidates() const;
  const std::string& refusal() const;
  /// The candidate with this engine; -1 if there is none.
  int find(std::string_view engine) const;

  /// False if the library refuses after all, or if the plan wants more workspace than is allowed; the candidate's
  /// refusal says why. Does nothing if it is built.
  bool build(size_t candidate);
  /// Frees the other plans; they can be built again.
  void keep_only(size_t candidate);
  /// Enqueues the built candidate on the handle's stream. `workspace`: the candidate's bytes; null if it needs none.
  /// The library may load kernels at the first execution: do that outside of a stream capture.
  void execute(cudnnContext* handle, size_t candidate, const PortPointers& pointers, void* workspace) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace packhorse

template <>
struct std::hash<packhorse::ConvolutionSpec> {
  size_t operator()(const packhorse::ConvolutionSpec& spec) const { return std::hash<std::string>()(spec.text()); }
};

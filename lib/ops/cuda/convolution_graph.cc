#include "ops/cuda/convolution_graph.h"

#include <cudnn.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr int64_t kAlignment = 16;            // of the pointers that plans are made for
constexpr int64_t kWorkspaceAlignment = 256;  // as the library's documentation demands

// What the library does not do. Becomes the text of a refusal.
struct Refusal {
  std::string reason;
};

std::string reason_of(cudnnStatus_t status, const std::string& what) {
  char details[1024] = {};
  cudnnGetLastErrorString(details, sizeof details);
  return what + ": " + cudnnGetErrorString(status) + (details[0] != 0 ? std::string(": ") + details : "");
}

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) throw Refusal{reason_of(status, what)};
}

// A descriptor of the library's, with one owner.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, &descriptor_), "no new descriptor");
  }
  ~Descriptor() {
    if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
  }
  Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values) {
    check(cudnnBackendSetAttribute(descriptor_, name, type, count, values), "an attribute is refused");
    return *this;
  }
  template <typename T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    return set(name, type, 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.descriptor_);
  }
  void finalize(const char* what) { check(cudnnBackendFinalize(descriptor_), what); }

  int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    int64_t count = 0;
    check(cudnnBackendGetAttribute(descriptor_, name, type, 0, &count, nullptr), "an attribute is missing");
    return count;
  }
  template <typename T>
  std::vector<T> values(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t most) const {
    std::vector<T> values(static_cast<size_t>(most));
    int64_t found = 0;
    check(cudnnBackendGetAttribute(descriptor_, name, type, most, &found, values.data()), "an attribute is missing");
    values.resize(static_cast<size_t>(std::min(found, most)));
    return values;
  }
  template <typename T>
  T value(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    T value{};
    int64_t found = 0;
    check(cudnnBackendGetAttribute(descriptor_, name, type, 1, &found, &value), "an attribute is missing");
    return value;
  }
  // The library fills in descriptors that it is given.
  std::vector<Descriptor> descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t kind,
                                      int64_t most) const {
    std::vector<Descriptor> filled;
    std::vector<cudnnBackendDescriptor_t> pointers;
    for (int64_t i = 0; i < most; ++i) pointers.push_back(filled.emplace_back(kind).get());
    int64_t found = 0;
    check(cudnnBackendGetAttribute(descriptor_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &found, pointers.data()),
          "an attribute is missing");
    filled.erase(filled.begin() + std::min(found, most), filled.end());
    return filled;
  }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

cudnnDataType_t type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return CUDNN_DATA_HALF;
    case Dtype::bf16:
      return CUDNN_DATA_BFLOAT16;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

int64_t aligned(int64_t bytes) { return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment; }

int64_t uid_of(Port port) { return 1 + static_cast<int64_t>(port); }

// Of one batch norm that a mask goes through.
struct MaskPorts {
  Port src, a, b, zeros, ones, a_grad, b_grad;
};
constexpr MaskPorts kMask{Port::src, Port::a, Port::b, Port::zeros, Port::ones, Port::a_grad, Port::b_grad};
constexpr MaskPorts kResidualMask{Port::residual_src,   Port::residual_a,    Port::residual_b,
                                  Port::residual_zeros, Port::residual_ones, Port::residual_a_grad,
                                  Port::residual_b_grad};

// A spec's operations, in the order in which the data flow through them.
class Graph {
 public:
  Graph(const ConvolutionSpec& spec, cudnnHandle_t handle) : spec_(spec), src_{spec.n, spec.h, spec.w, spec.c} {
    for (const PortUse& use : ports_of(spec)) ports_[static_cast<size_t>(use.port)] = tensor(use);
    switch (spec.pass) {
      case ConvolutionPass::forward:
        add_forward();
        break;
      case ConvolutionPass::data_gradient:
        add_data_gradient();
        break;
      case ConvolutionPass::weight_gradient:
        add_weight_gradient();
        break;
    }
    graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(operations_.size()),
               operations_.data());
    if (handle != nullptr) graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    graph_.finalize("the graph is refused");
  }

  const Descriptor& descriptor() const { return graph_; }
  /// The uids of results that the library writes and nobody reads: each is an array of the source's channels, f32.
  const std::vector<int64_t>& unread() const { return unread_; }

 private:
  using Tensor = cudnnBackendDescriptor_t;

  Tensor tensor(const Shape& shape, Dtype dtype, int64_t uid, bool is_virtual) {
    Descriptor& tensor = made_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type_of(dtype));
    tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, {shape.n, shape.c, shape.h, shape.w});
    tensor.set(CUDNN_ATTR_TENSOR_STRIDES, {shape.h * shape.w * shape.c, 1, shape.w * shape.c, shape.c});
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, uid);
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
    if (is_virtual) tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
    tensor.finalize("a tensor is refused");
    return tensor.get();
  }
  Tensor tensor(const PortUse& use) { return tensor(use.shape, use.dtype, uid_of(use.port), false); }
  // What passes from one operation to the next without being written.
  Tensor between(const Shape& shape) { return tensor(shape, Dtype::f32, next_uid_++, true); }
  Tensor unread_array() {
    unread_.push_back(next_uid_);
    return tensor({1, 1, 1, spec_.c}, Dtype::f32, next_uid_++, false);
  }
  Tensor at(Port port) const { return ports_[static_cast<size_t>(port)]; }

  Descriptor& operation(cudnnBackendDescriptorType_t type) { return made_.emplace_back(type); }
  void add(Descriptor& operation) {
    operation.finalize("an operation is refused");
    operations_.push_back(operation.get());
  }

  Tensor pointwise(cudnnPointwiseMode_t mode, Tensor x, Tensor b, const Shape& shape, Tensor y = nullptr) {
    if (y == nullptr) y = between(shape);
    Descriptor& step = add_pointwise(mode, x);
    if (b != nullptr) step.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, b);
    step.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, y);
    add(step);
    return y;
  }
  Descriptor& add_pointwise(cudnnPointwiseMode_t mode, Tensor x) {
    Descriptor& formula = made_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    formula.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
    formula.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD || mode == CUDNN_POINTWISE_RELU_BWD) {
      formula.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, CUDNN_PROPAGATE_NAN);
      formula.set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, CUDNN_TYPE_DOUBLE, 0.0);
    }
    formula.finalize("a pointwise operation is refused");
    Descriptor& step = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    step.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, formula);
    step.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, x);
    step.set(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_TYPE_FLOAT, 1.0f);
    step.set(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, CUDNN_TYPE_FLOAT, 1.0f);
    return step;
  }

  // x * a + b
  Tensor scaled(Tensor x, Tensor a, Tensor b) {
    return pointwise(CUDNN_POINTWISE_ADD, pointwise(CUDNN_POINTWISE_MUL, x, a, src_), b, src_);
  }
  // The same as a batch norm whose mean is 0 and whose deviation is 1: the form that the library's masks have.
  Tensor normalised(const MaskPorts& of) {
    const Tensor centred = pointwise(CUDNN_POINTWISE_SUB, at(of.src), at(of.zeros), src_);
    return scaled(pointwise(CUDNN_POINTWISE_MUL, centred, at(of.ones), src_), at(of.a), at(of.b));
  }

  Descriptor& convolution() {
    Descriptor& geometry = made_.emplace_back(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    geometry.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    geometry.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
    geometry.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2});
    geometry.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {spec_.pad, spec_.pad});
    geometry.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {spec_.pad, spec_.pad});
    geometry.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {1, 1});
    geometry.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {spec_.stride, spec_.stride});
    geometry.finalize("the convolution is refused");
    return geometry;
  }

  void add_forward() {
    Tensor x = at(Port::src);
    if (spec_.prologue != ConvolutionApply::none) {
      x = scaled(x, at(Port::a), at(Port::b));
      if (spec_.prologue == ConvolutionApply::sum) x = pointwise(CUDNN_POINTWISE_ADD, x, at(Port::residual), src_);
      if (spec_.prologue == ConvolutionApply::projected_sum) {
        const Tensor residual = scaled(at(Port::residual_src), at(Port::residual_a), at(Port::residual_b));
        x = pointwise(CUDNN_POINTWISE_ADD, x, residual, src_);
      }
      x = pointwise(CUDNN_POINTWISE_RELU_FWD, x, nullptr, src_, at(Port::sum));
    }
    Descriptor& geometry = convolution();
    Descriptor& forward = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_TYPE_BACKEND_DESCRIPTOR, x);
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::weight));
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::dst));
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, geometry);
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1.0f);
    forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 0.0f);
    add(forward);
    if (!spec_.statistics) return;
    Descriptor& statistics = operation(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
    statistics.set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM);
    statistics.set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    statistics.set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::dst));
    statistics.set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::sum_of_values));
    statistics.set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::sum_of_squares));
    add(statistics);
  }

  void add_weight_gradient() {
    Tensor x = at(Port::src);
    if (spec_.prologue == ConvolutionApply::apply)
      x = pointwise(CUDNN_POINTWISE_RELU_FWD, scaled(x, at(Port::a), at(Port::b)), nullptr, src_);
    Descriptor& geometry = convolution();
    Descriptor& gradient = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_TYPE_BACKEND_DESCRIPTOR, x);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::dst_grad));
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::weight_grad));
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, geometry);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_TYPE_FLOAT, 1.0f);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, CUDNN_TYPE_FLOAT, 0.0f);
    add(gradient);
  }

  void add_data_gradient() {
    const bool is_masked = spec_.mask != ConvolutionApply::none;
    Tensor x_grad = is_masked ? between(src_) : at(Port::src_grad);
    Descriptor& geometry = convolution();
    Descriptor& gradient = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_TYPE_BACKEND_DESCRIPTOR, x_grad);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::weight));
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::dst_grad));
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, geometry);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1.0f);
    gradient.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT,
                 spec_.addend && !is_masked ? 1.0f : 0.0f);
    add(gradient);
    if (!is_masked) return;
    if (spec_.addend) x_grad = pointwise(CUDNN_POINTWISE_ADD, x_grad, at(Port::addend), src_);

    Tensor value = normalised(kMask);
    const bool is_projected = spec_.mask == ConvolutionApply::projected_sum;
    if (spec_.mask == ConvolutionApply::sum)
      value = pointwise(CUDNN_POINTWISE_ADD, value, at(Port::residual), src_);
    else if (is_projected)
      value = pointwise(CUDNN_POINTWISE_ADD, value, normalised(kResidualMask), src_);
    Descriptor& mask = add_pointwise(CUDNN_POINTWISE_RELU_BWD, value);
    mask.set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, x_grad);
    mask.set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, at(Port::masked_grad));
    add(mask);
    if (is_projected) add_reductions(kResidualMask);
    add_reductions(kMask);
  }

  // The library's gradient of a batch norm's parameters. It also writes what a mean and a deviation would make of the
  // gradient's further way: with 0 and 1 in their place, it means nothing.
  void add_reductions(const MaskPorts& of) {
    Descriptor& reductions = operation(CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR);
    const auto put = [&](cudnnBackendAttributeName_t name, Tensor tensor) {
      reductions.set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, tensor);
    };
    reductions.set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC, at(of.src));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC, at(Port::masked_grad));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC, at(of.zeros));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC, at(of.ones));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC, at(of.a));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC, at(of.a_grad));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC, at(of.b_grad));
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC, unread_array());
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC, unread_array());
    put(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS, unread_array());
    add(reductions);
  }

  const ConvolutionSpec& spec_;
  const Shape src_;
  std::deque<Descriptor> made_;  // a graph refers to its operations, they to their tensors
  std::array<Tensor, kPorts> ports_{};
  std::vector<cudnnBackendDescriptor_t> operations_;
  std::vector<int64_t> unread_;
  int64_t next_uid_ = 1 + static_cast<int64_t>(kPorts);
  Descriptor graph_{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR};
};

// "eng24_k2=12_k3=0"
std::string name_of(const Descriptor& config, const Descriptor& engine) {
  std::string name = "eng" + std::to_string(engine.value<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64));
  for (const Descriptor& choice : config.descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                                     CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    const auto knob = choice.value<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE);
    const auto setting = choice.value<int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64);
    name += "_k" + std::to_string(static_cast<int>(knob)) + "=" + std::to_string(setting);
  }
  return name;
}

[[noreturn]] void misuse(const ConvolutionSpec& spec, const std::string& what) { throw Error({what, spec.text(), {}}); }

void check_meaning(const ConvolutionSpec& spec) {
  const bool is_forward = spec.pass == ConvolutionPass::forward;
  if (spec.dtype != Dtype::f16 && spec.dtype != Dtype::bf16 && spec.dtype != Dtype::f32)
    misuse(spec, "a convolution's operands are f16, bf16 or f32");
  if (spec.tf32 && spec.dtype != Dtype::f32) misuse(spec, "tf32 is a way to multiply f32");
  if (std::min({spec.n, spec.h, spec.w, spec.c, spec.o, spec.kernel, spec.stride}) < 1 || spec.pad < 0 ||
      std::min(spec.h, spec.w) + 2 * spec.pad < spec.kernel)
    misuse(spec, "a convolution has no results");
  if (!is_forward && spec.statistics) misuse(spec, "only a forward convolution has statistics");
  if (spec.pass != ConvolutionPass::data_gradient && (spec.addend || spec.mask != ConvolutionApply::none))
    misuse(spec, "only a data gradient has an addend or a mask");
  if (!is_forward && spec.prologue != ConvolutionApply::none &&
      (spec.pass == ConvolutionPass::data_gradient || spec.prologue != ConvolutionApply::apply))
    misuse(spec, "only a forward convolution has such a prologue");
}

}  // namespace

std::string cudnn_name() {
  const size_t version = cudnnGetVersion();
  return "cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::string ConvolutionSpec::text() const {
  constexpr const char* kPasses[] = {"forward", "data_gradient", "weight_gradient"};
  constexpr const char* kApplies[] = {"", "apply", "sum", "projected_sum"};
  std::string text = std::string(kPasses[static_cast<size_t>(pass)]) + " " + (tf32 ? "tf32" : name_of(dtype));
  const std::pair<const char*, int64_t> numbers[] = {{"n", n}, {"h", h},      {"w", w},      {"c", c},
                                                     {"o", o}, {"k", kernel}, {"s", stride}, {"p", pad}};
  for (const auto& [letter, number] : numbers) text += std::string(" ") + letter + std::to_string(number);
  if (prologue != ConvolutionApply::none) text += std::string(" ") + kApplies[static_cast<size_t>(prologue)];
  if (statistics) text += " statistics";
  if (addend) text += " addend";
  if (mask != ConvolutionApply::none) text += std::string(" ") + kApplies[static_cast<size_t>(mask)] + "_mask";
  return text;
}

std::string_view name_of(Port port) {
  constexpr std::string_view kNames[kPorts] = {"src",
                                               "weight",
                                               "dst",
                                               "dst_grad",
                                               "src_grad",
                                               "weight_grad",
                                               "a",
                                               "b",
                                               "residual",
                                               "residual_src",
                                               "residual_a",
                                               "residual_b",
                                               "sum",
                                               "sum_of_values",
                                               "sum_of_squares",
                                               "addend",
                                               "masked_grad",
                                               "a_grad",
                                               "b_grad",
                                               "residual_a_grad",
                                               "residual_b_grad",
                                               "zeros",
                                               "ones",
                                               "residual_zeros",
                                               "residual_ones"};
  return kNames[static_cast<size_t>(port)];
}

std::vector<PortUse> ports_of(const ConvolutionSpec& spec) {
  check_meaning(spec);
  const Shape src{spec.n, spec.h, spec.w, spec.c}, dst{spec.n, spec.dst_h(), spec.dst_w(), spec.o},
      weight{spec.o, spec.kernel, spec.kernel, spec.c}, channels{1, 1, 1, spec.c}, results{1, 1, 1, spec.o};
  std::vector<PortUse> uses;
  const auto reads = [&](Port port, const Shape& shape, Dtype dtype) {
    uses.push_back({port, shape, dtype, true, false});
  };
  const auto writes = [&](Port port, const Shape& shape, Dtype dtype) {
    uses.push_back({port, shape, dtype, false, true});
  };
  // What an apply reads besides its source.
  const auto applies = [&](ConvolutionApply apply, Dtype dtype) {
    if (apply == ConvolutionApply::none) return;
    reads(Port::a, channels, dtype);
    reads(Port::b, channels, dtype);
    if (apply == ConvolutionApply::sum) reads(Port::residual, src, spec.dtype);
    if (apply != ConvolutionApply::projected_sum) return;
    reads(Port::residual_src, src, spec.dtype);
    reads(Port::residual_a, channels, dtype);
    reads(Port::residual_b, channels, dtype);
  };
  switch (spec.pass) {
    case ConvolutionPass::forward:
      reads(Port::src, src, spec.dtype);
      applies(spec.prologue, spec.dtype);
      reads(Port::weight, weight, spec.dtype);
      if (spec.prologue > ConvolutionApply::apply) writes(Port::sum, src, spec.dtype);
      writes(Port::dst, dst, spec.dtype);
      if (spec.statistics) {
        writes(Port::sum_of_values, results, Dtype::f32);
        writes(Port::sum_of_squares, results, Dtype::f32);
      }
      break;
    case ConvolutionPass::data_gradient:
      reads(Port::dst_grad, dst, spec.dtype);
      reads(Port::weight, weight, spec.dtype);
      if (spec.mask == ConvolutionApply::none) {
        uses.push_back({Port::src_grad, src, spec.dtype, spec.addend, true});
        break;
      }
      if (spec.addend) reads(Port::addend, src, spec.dtype);
      reads(Port::src, src, spec.dtype);
      applies(spec.mask, Dtype::f32);
      reads(Port::zeros, channels, Dtype::f32);
      reads(Port::ones, channels, Dtype::f32);
      writes(Port::masked_grad, src, spec.dtype);
      writes(Port::a_grad, channels, Dtype::f32);
      writes(Port::b_grad, channels, Dtype::f32);
      if (spec.mask == ConvolutionApply::projected_sum) {
        reads(Port::residual_zeros, channels, Dtype::f32);
        reads(Port::residual_ones, channels, Dtype::f32);
        writes(Port::residual_a_grad, channels, Dtype::f32);
        writes(Port::residual_b_grad, channels, Dtype::f32);
      }
      break;
    case ConvolutionPass::weight_gradient:
      reads(Port::src, src, spec.dtype);
      applies(spec.prologue, spec.dtype);
      reads(Port::dst_grad, dst, spec.dtype);
      writes(Port::weight_grad, weight, spec.dtype);
      break;
  }
  return uses;
}

struct ConvolutionPlans::State {
  ConvolutionSpec spec;
  PlanOptions options;
  std::vector<PortUse> ports;
  std::vector<PlanCandidate> candidates{};
  std::string refusal{};
  std::optional<Descriptor> device_properties{};
  std::optional<Graph> graph{};
  std::vector<Descriptor> configs{};               // one a candidate
  std::vector<std::optional<Descriptor>> plans{};  // of the built ones

  State(const ConvolutionSpec& description, const PlanOptions& chosen)
      : spec(description), options(chosen), ports(ports_of(description)) {}

  void find_candidates(cudnnHandle_t handle, const std::string& properties) {
    try {
      if (handle == nullptr) {
        device_properties.emplace(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
        device_properties->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                               static_cast<int64_t>(properties.size()), properties.data());
        device_properties->finalize("the device's properties are refused");
      }
      graph.emplace(spec, handle);
    } catch (const Refusal& why) {
      refusal = why.reason;
      return;
    }
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      try {
        ask(mode);
      } catch (const Refusal& why) {
        if (refusal.empty()) refusal = why.reason;
      }
    }
    plans.resize(candidates.size());
    if (!candidates.empty())
      refusal.clear();
    else if (refusal.empty())
      refusal = "no engine fits";
  }

  void ask(cudnnBackendHeurMode_t mode) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->descriptor());
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    if (device_properties) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *device_properties);
    heuristics.finalize("no engine is known");
    for (Descriptor& config :
         heuristics.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                heuristics.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR)))
      consider(std::move(config));
  }

  // Behind the plan's own workspace come the results that nobody reads.
  int64_t unread_bytes() const { return aligned(spec.c * static_cast<int64_t>(sizeof(float))); }
  void set_workspace(PlanCandidate& candidate, int64_t bytes) const {
    const auto arrays = static_cast<int64_t>(graph->unread().size());
    candidate.plan_workspace = bytes;
    candidate.workspace = arrays == 0 ? bytes : aligned(bytes) + arrays * unread_bytes();
  }

  void consider(Descriptor config) {
    const std::vector<Descriptor> engine =
        config.descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
    const auto notes = engine.at(0).values<cudnnBackendNumericalNote_t>(
        CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
    const auto behaviour = engine.at(0).values<cudnnBackendBehaviorNote_t>(
        CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT);
    const auto has = [](const auto& list, auto note) {
      return std::find(list.begin(), list.end(), note) != list.end();
    };

    PlanCandidate candidate;
    candidate.engine = name_of(config, engine.at(0));
    set_workspace(candidate, config.value<int64_t>(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64));
    candidate.deterministic = !has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
    candidate.runtime_compiled = has(behaviour, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    // An f32 engine on tensor cores rounds the operands.
    const bool rounds =
        has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
    const bool is_known = std::any_of(candidates.begin(), candidates.end(),
                                      [&](const PlanCandidate& other) { return other.engine == candidate.engine; });
    if (is_known || (options.deterministic && !candidate.deterministic) ||
        candidate.workspace > options.workspace_limit || (spec.dtype == Dtype::f32 && !spec.tf32 && rounds))
      return;
    candidates.push_back(std::move(candidate));
    configs.push_back(std::move(config));
  }

  bool build(size_t index) {
    PlanCandidate& candidate = candidates[index];
    if (candidate.built) return true;
    try {
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configs[index]);
      plan.finalize("the plan is refused");
      set_workspace(candidate, plan.value<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64));
      if (candidate.workspace > options.workspace_limit)
        throw Refusal{"its workspace is " + std::to_string(candidate.workspace) + " bytes"};
      plans[index].emplace(std::move(plan));
      candidate.built = true;
      candidate.refusal.clear();
    } catch (const Refusal& why) {
      candidate.refusal = why.reason;
    }
    return candidate.built;
  }

  void execute(cudnnHandle_t handle, size_t index, const PortPointers& pointers, void* workspace) const {
    std::vector<int64_t> uids;
    std::vector<void*> addresses;
    for (const PortUse& use : ports) {
      void* address = pointers[use.port];
      if (address == nullptr) misuse(spec, "a convolution is run without its " + std::string(name_of(use.port)));
      if (reinterpret_cast<uintptr_t>(address) % kAlignment != 0)
        misuse(spec, "a convolution's " + std::string(name_of(use.port)) + " is not 16-byte aligned");
      uids.push_back(uid_of(use.port));
      addresses.push_back(address);
    }
    const PlanCandidate& candidate = candidates[index];
    if (candidate.workspace > 0 &&
        (workspace == nullptr || reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0))
      misuse(spec, "a convolution is run without a workspace that is 256-byte aligned");
    int64_t offset = aligned(candidate.plan_workspace);
    for (const int64_t uid : graph->unread()) {
      uids.push_back(uid);
      addresses.push_back(static_cast<std::byte*>(workspace) + offset);
      offset += unread_bytes();
    }
    try {
      Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
      pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, uids);
      pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(addresses.size()),
               addresses.data());
      pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
      pack.finalize("the pointers are refused");
      check(cudnnBackendExecute(handle, plans[index]->get(), pack.get()), "cuDNN does not run it");
    } catch (const Refusal& why) {
      misuse(spec, "a convolution by " + candidate.engine + " failed: " + why.reason);
    }
  }
};

ConvolutionPlans::ConvolutionPlans(const ConvolutionSpec& spec, cudnnContext* handle, const PlanOptions& options)
    : state_(std::make_unique<State>(spec, options)) {
  if (handle == nullptr) misuse(spec, "plans are asked for without a handle");
  state_->find_candidates(handle, {});
}
ConvolutionPlans::ConvolutionPlans(const ConvolutionSpec& spec, const std::string& device_properties,
                                   const PlanOptions& options)
    : state_(std::make_unique<State>(spec, options)) {
  state_->find_candidates(nullptr, device_properties);
}
ConvolutionPlans::~ConvolutionPlans() = default;
ConvolutionPlans::ConvolutionPlans(ConvolutionPlans&&) noexcept = default;
ConvolutionPlans& ConvolutionPlans::operator=(ConvolutionPlans&&) noexcept = default;

const ConvolutionSpec& ConvolutionPlans::spec() const { return state_->spec; }
const std::vector<PlanCandidate>& ConvolutionPlans::candidates() const { return state_->candidates; }
const std::string& ConvolutionPlans::refusal() const { return state_->refusal; }

int ConvolutionPlans::find(std::string_view engine) const {
  const auto found = std::find_if(candidates().begin(), candidates().end(),
                                  [&](const PlanCandidate& candidate) { return candidate.engine == engine; });
  return found == candidates().end() ? -1 : static_cast<int>(found - candidates().begin());
}

bool ConvolutionPlans::build(size_t candidate) {
  if (candidate >= candidates().size()) misuse(spec(), "a convolution has no such candidate");
  return state_->build(candidate);
}

void ConvolutionPlans::keep_only(size_t candidate) {
  for (size_t i = 0; i < state_->plans.size(); ++i) {
    if (i == candidate) continue;
    state_->plans[i].reset();
    state_->candidates[i].built = false;
  }
}

void ConvolutionPlans::execute(cudnnContext* handle, size_t candidate, const PortPointers& pointers,
                               void* workspace) const {
  if (candidate >= candidates().size() || !candidates()[candidate].built)
    misuse(spec(), "a plan is executed that was not built");
  state_->execute(handle, candidate, pointers, workspace);
}

}  // namespace packhorse

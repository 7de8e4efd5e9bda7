// The stand-in for cuDNN, first part: descriptors as a store of attributes, and the operation graph that they describe.
//
// It knows the graphs of convolutions with what is fused around them. Whether the real library has a plan for one, is
// not decided here: its signature is looked up in a table that the real library filled (tests/cuda_plans).
#pragma once

#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensor/types.h"

namespace packhorse::standin {

/// A call that the library refuses.
class CudnnRefusal : public std::runtime_error {
 public:
  CudnnRefusal(cudnnStatus_t status, const std::string& what) : std::runtime_error(what), status_(status) {}
  cudnnStatus_t status() const { return status_; }

 private:
  cudnnStatus_t status_;
};

struct DescriptorData;

struct Attribute {
  cudnnBackendAttributeType_t type = CUDNN_TYPE_INT64;
  int64_t count = 0;
  std::vector<std::byte> bytes{};                                    // of all types but descriptors
  std::vector<std::shared_ptr<const DescriptorData>> descriptors{};  // finalised: they do not change any more
};

/// What is behind a cudnnBackendDescriptor_t.
struct DescriptorData {
  cudnnBackendDescriptorType_t type = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
  bool finalized = false;
  std::map<int, Attribute> attributes{};

  /// Throws a CudnnRefusal if the attribute is none of this descriptor's, or has another type.
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void* values);
  void set(cudnnBackendAttributeName_t name, std::vector<std::shared_ptr<const DescriptorData>> others);
  bool has(cudnnBackendAttributeName_t name) const { return attributes.count(name) > 0; }
  /// Throws a CudnnRefusal if the attribute was not set.
  const Attribute& at(cudnnBackendAttributeName_t name) const;
  const DescriptorData& descriptor(cudnnBackendAttributeName_t name) const;
  template <typename T>
  std::vector<T> values(cudnnBackendAttributeName_t name) const {
    const Attribute& attribute = at(name);
    const auto count = static_cast<size_t>(attribute.count);
    if (attribute.bytes.size() != count * sizeof(T))
      throw CudnnRefusal(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "an attribute has another type");
    // Not into a vector<bool>, whose values have no addresses.
    auto copies = std::make_unique<T[]>(count);
    std::memcpy(copies.get(), attribute.bytes.data(), attribute.bytes.size());
    return std::vector<T>(copies.get(), copies.get() + count);
  }
  template <typename T>
  T value(cudnnBackendAttributeName_t name) const {
    const std::vector<T> all = values<T>(name);
    if (all.size() != 1) throw CudnnRefusal(CUDNN_STATUS_BAD_PARAM, "an attribute has not one value");
    return all.front();
  }
};

/// Bytes of a value; 0 for a type that the stand-in does not know.
size_t size_of(cudnnBackendAttributeType_t type);

/// Dense, channels last; the channels of a weight are its second dimension (O, C, K, K).
struct GraphTensor {
  int64_t uid = 0;
  Shape shape{};
  Dtype dtype = Dtype::f32;
  int64_t alignment = 16;
  bool is_virtual = false;  ///< passes from one operation to the next and is never written
  bool is_dense = true;

  size_t bytes() const { return static_cast<size_t>(shape.count()) * packhorse::size_of(dtype); }
};

enum class GraphStep { forward, data_gradient, weight_gradient, pointwise, statistics, batch_norm_reductions };

/// Numbers of tensors of the graph, -1 where a step has none.
struct GraphOperation {
  GraphStep step = GraphStep::pointwise;
  /// forward: x, w -> y. data_gradient: dy, w -> dx. weight_gradient: x, dy -> dw. pointwise: x, [b] or x, dy -> y.
  /// statistics: y -> sum, sum of squares. batch_norm_reductions: x, dy, mean, inverse deviation, scale -> dscale,
  /// dbias, then three that pass on.
  std::vector<int> reads{}, writes{};
  cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
  int64_t kernel = 1, stride = 1, pad = 0;
  float beta = 0;  ///< of a convolution: what the result held before counts so much
};

struct OperationGraph {
  std::vector<GraphTensor> tensors{};
  std::vector<GraphOperation> operations{};

  const GraphTensor& tensor(int number) const { return tensors[static_cast<size_t>(number)]; }
  const GraphOperation& convolution() const;
};

/// Throws a CudnnRefusal for a graph that does not fit together, or that is no convolution.
OperationGraph graph_of(const DescriptorData& operation_graph);

/// Whatever decides whether the library has a plan, as one line: operations, types, layouts, window, stride, and
/// whether the channels are multiples of 8 or 4. The other sizes do not matter.
std::string signature_of(const OperationGraph& graph);
/// The other sizes: "n256 h56 w56 c64 o256".
std::string sizes_of(const OperationGraph& graph);

}  // namespace packhorse::standin

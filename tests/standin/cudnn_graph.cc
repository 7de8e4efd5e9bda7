#include "standin/cudnn_graph.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

namespace packhorse::standin {
namespace {

[[noreturn]] void refuse(cudnnStatus_t status, const std::string& what) { throw CudnnRefusal(status, what); }

// The attributes that the stand-in knows: of which descriptor, and their type. (count 0: any number.)
struct Known {
  cudnnBackendDescriptorType_t descriptor;
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  int64_t count;
};
constexpr auto kTensor = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
constexpr auto kGeometry = CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR;
constexpr auto kForward = CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
constexpr auto kDataGradient = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
constexpr auto kWeightGradient = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
constexpr auto kFormula = CUDNN_BACKEND_POINTWISE_DESCRIPTOR;
constexpr auto kPointwise = CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
constexpr auto kStatistics = CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR;
constexpr auto kReductions = CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR;
constexpr auto kGraph = CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
constexpr auto kHeuristics = CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
constexpr auto kPlan = CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
constexpr auto kPack = CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;
constexpr auto kDevice = CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR;
constexpr auto kOther = CUDNN_TYPE_BACKEND_DESCRIPTOR;

constexpr Known kKnown[] = {
    {kTensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1},
    {kTensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1},
    {kTensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4},
    {kTensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4},
    {kTensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1},
    {kTensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2},
    {kGeometry, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, kOther, 1},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, kOther, 1},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, kOther, 1},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, kOther, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, kOther, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, kOther, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, kOther, 1},
    {kDataGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, kOther, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_TYPE_FLOAT, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, CUDNN_TYPE_FLOAT, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, kOther, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, kOther, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, kOther, 1},
    {kWeightGradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, kOther, 1},
    {kFormula, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1},
    {kFormula, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1},
    {kFormula, CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1},
    {kFormula, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, CUDNN_TYPE_DOUBLE, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, kOther, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_TYPE_FLOAT, 1},
    {kPointwise, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, CUDNN_TYPE_FLOAT, 1},
    {kStatistics, CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, 1},
    {kStatistics, CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1},
    {kStatistics, CUDNN_ATTR_OPERATION_GENSTATS_XDESC, kOther, 1},
    {kStatistics, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, kOther, 1},
    {kStatistics, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC, kOther, 1},
    {kReductions, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS, kOther, 1},
    {kGraph, CUDNN_ATTR_OPERATIONGRAPH_OPS, kOther, 0},
    {kGraph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1},
    {kHeuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, kOther, 1},
    {kHeuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1},
    {kHeuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, kOther, 1},
    {kPlan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, kOther, 1},
    {kPack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 0},
    {kPack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 0},
    {kPack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1},
    {kDevice, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0},
};

void check_known(const DescriptorData& data, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                 int64_t count) {
  const auto known = std::find_if(std::begin(kKnown), std::end(kKnown),
                                  [&](const Known& k) { return k.descriptor == data.type && k.name == name; });
  const std::string which = "attribute " + std::to_string(name) + " of a descriptor " + std::to_string(data.type);
  if (data.finalized) refuse(CUDNN_STATUS_BAD_PARAM, which + " is set after it was finalised");
  if (known == std::end(kKnown)) refuse(CUDNN_STATUS_NOT_SUPPORTED, which + " is not known to the stand-in");
  if (known->type != type) refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, which + " has another type");
  if (count < 1 || (known->count > 0 && known->count != count))
    refuse(CUDNN_STATUS_BAD_PARAM, which + " has another number of values");
}

Dtype dtype_of(cudnnDataType_t type) {
  switch (type) {
    case CUDNN_DATA_HALF:
      return Dtype::f16;
    case CUDNN_DATA_BFLOAT16:
      return Dtype::bf16;
    case CUDNN_DATA_FLOAT:
      return Dtype::f32;
    default:
      refuse(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "a tensor is neither f16 nor bf16 nor f32");
  }
}

void need(bool is_so, const std::string& what) {
  if (!is_so) refuse(CUDNN_STATUS_BAD_PARAM, what);
}

// Reads descriptors; tensors become numbers in the order in which they appear.
class Reader {
 public:
  OperationGraph read(const DescriptorData& data) {
    need(data.type == kGraph && data.finalized, "no finalised graph");
    for (const auto& operation : data.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors) add(*operation);
    const auto convolutions = std::count_if(graph_.operations.begin(), graph_.operations.end(),
                                            [](const auto& o) { return o.step <= GraphStep::weight_gradient; });
    if (convolutions != 1) refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "not one convolution");
    check_flow();
    return std::move(graph_);
  }

 private:
  int tensor(const DescriptorData& operation, cudnnBackendAttributeName_t name) {
    const DescriptorData& data = operation.descriptor(name);
    need(data.type == kTensor, "an operand is no tensor");
    const auto uid = data.value<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const auto dims = data.values<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS),
               strides = data.values<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    GraphTensor tensor;
    tensor.uid = uid;
    tensor.shape = {dims[0], dims[2], dims[3], dims[1]};
    tensor.dtype = dtype_of(data.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE));
    tensor.alignment = data.value<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    tensor.is_virtual = data.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && data.value<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    const int64_t dense[] = {dims[1] * dims[2] * dims[3], 1, dims[1] * dims[3], dims[1]};
    tensor.is_dense = std::equal(strides.begin(), strides.end(), dense);
    const auto known = numbers_.find(uid);
    if (known == numbers_.end()) {
      graph_.tensors.push_back(tensor);
      return numbers_[uid] = static_cast<int>(graph_.tensors.size()) - 1;
    }
    const GraphTensor& other = graph_.tensor(known->second);
    need(other.shape == tensor.shape && other.dtype == tensor.dtype && other.is_virtual == tensor.is_virtual &&
             other.is_dense == tensor.is_dense,
         "two tensors have the same uid");
    return known->second;
  }
  const Shape& shape(int number) const { return graph_.tensor(number).shape; }

  void add(const DescriptorData& data) {
    switch (data.type) {
      case kForward:
        return add_convolution(data, GraphStep::forward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
      case kDataGradient:
        return add_convolution(
            data, GraphStep::data_gradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
      case kWeightGradient:
        return add_convolution(
            data, GraphStep::weight_gradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
      case kPointwise:
        return add_pointwise(data);
      case kStatistics:
        return add_statistics(data);
      case kReductions:
        return add_reductions(data);
      default:
        refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "an operation is not known to the stand-in");
    }
  }

  // x, w and y as the forward convolution names them; each pass writes another one.
  void add_convolution(const DescriptorData& data, GraphStep step, cudnnBackendAttributeName_t x_name,
                       cudnnBackendAttributeName_t w_name, cudnnBackendAttributeName_t y_name,
                       cudnnBackendAttributeName_t geometry_name, cudnnBackendAttributeName_t alpha,
                       cudnnBackendAttributeName_t beta) {
    const int x = tensor(data, x_name), w = tensor(data, w_name), y = tensor(data, y_name);
    GraphOperation operation{.step = step};
    operation.reads = step == GraphStep::forward         ? std::vector{x, w}
                      : step == GraphStep::data_gradient ? std::vector{y, w}
                                                         : std::vector{x, y};
    operation.writes = {step == GraphStep::forward ? y : step == GraphStep::data_gradient ? x : w};
    const DescriptorData& geometry = data.descriptor(geometry_name);
    need(geometry.type == kGeometry && geometry.value<int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) == 2,
         "a convolution is not one over two dimensions");
    const auto both = [&](cudnnBackendAttributeName_t name) {
      const auto values = geometry.values<int64_t>(name);
      if (values.size() != 2 || values[0] != values[1])
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "rows and columns have different geometries");
      return values[0];
    };
    operation.stride = both(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    operation.pad = both(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    operation.kernel = shape(w).h;
    if (both(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS) != operation.pad || both(CUDNN_ATTR_CONVOLUTION_DILATIONS) != 1 ||
        shape(w).w != operation.kernel)
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "paddings differ, a window is not square, or it is dilated");
    if (geometry.value<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT ||
        geometry.value<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION)
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "products are not summed in f32, or the window is turned");
    operation.beta = data.value<float>(beta);
    const bool adds = step == GraphStep::data_gradient && operation.beta == 1;
    if (data.value<float>(alpha) != 1 || (operation.beta != 0 && !adds))
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "a convolution is scaled");
    need(operation.stride >= 1 && operation.pad >= 0, "a stride or a padding is negative");
    const auto side = [&](int64_t length) {
      return (length + 2 * operation.pad - operation.kernel) / operation.stride + 1;
    };
    if (shape(x).n != shape(y).n || shape(w).c != shape(x).c || shape(w).n != shape(y).c ||
        shape(y).h != side(shape(x).h) || shape(y).w != side(shape(x).w))
      refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "a convolution's shapes do not fit");
    graph_.operations.push_back(operation);
  }

  void add_pointwise(const DescriptorData& data) {
    const DescriptorData& formula = data.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    need(formula.type == kFormula, "a pointwise operation has no formula");
    GraphOperation operation{.step = GraphStep::pointwise};
    operation.mode = formula.value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    if (formula.value<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) != CUDNN_DATA_FLOAT)
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "a pointwise operation is not computed in f32");
    if (formula.has(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP) &&
        formula.value<double>(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP) != 0)
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "a ReLU does not begin at 0");
    if (data.value<float>(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1) != 1 ||
        data.value<float>(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2) != 1)
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "a pointwise operation is scaled");
    operation.reads = {tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)};
    switch (operation.mode) {
      case CUDNN_POINTWISE_ADD:
      case CUDNN_POINTWISE_SUB:
      case CUDNN_POINTWISE_MUL:
        operation.reads.push_back(tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
        operation.writes = {tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_YDESC)};
        break;
      case CUDNN_POINTWISE_RELU_FWD:
        operation.writes = {tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_YDESC)};
        break;
      case CUDNN_POINTWISE_RELU_BWD:
        operation.reads.push_back(tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_DYDESC));
        operation.writes = {tensor(data, CUDNN_ATTR_OPERATION_POINTWISE_DXDESC)};
        break;
      default:
        refuse(CUDNN_STATUS_NOT_SUPPORTED, "a pointwise operation is not known to the stand-in");
    }
    const Shape& result = shape(operation.writes[0]);
    for (const int read : operation.reads)
      if (shape(read) != result && shape(read) != Shape{1, 1, 1, result.c})
        refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "a pointwise operation's shapes do not fit");
    graph_.operations.push_back(operation);
  }

  void add_statistics(const DescriptorData& data) {
    need(data.value<cudnnGenStatsMode_t>(CUDNN_ATTR_OPERATION_GENSTATS_MODE) == CUDNN_GENSTATS_SUM_SQSUM &&
             data.value<cudnnDataType_t>(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC) == CUDNN_DATA_FLOAT,
         "statistics are not sums in f32");
    GraphOperation operation{.step = GraphStep::statistics};
    operation.reads = {tensor(data, CUDNN_ATTR_OPERATION_GENSTATS_XDESC)};
    operation.writes = {tensor(data, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC),
                        tensor(data, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC)};
    check_channels(operation.writes, shape(operation.reads[0]).c);
    graph_.operations.push_back(operation);
  }

  void add_reductions(const DescriptorData& data) {
    need(data.value<cudnnDataType_t>(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MATH_PREC) == CUDNN_DATA_FLOAT,
         "reductions are not computed in f32");
    GraphOperation operation{.step = GraphStep::batch_norm_reductions};
    for (const auto name :
         {CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC,
          CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC,
          CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC})
      operation.reads.push_back(tensor(data, name));
    for (const auto name :
         {CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC,
          CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC, CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC,
          CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS})
      operation.writes.push_back(tensor(data, name));
    if (shape(operation.reads[0]) != shape(operation.reads[1]))
      refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "a batch norm's shapes do not fit");
    check_channels({operation.reads.begin() + 2, operation.reads.end()}, shape(operation.reads[0]).c);
    check_channels(operation.writes, shape(operation.reads[0]).c);
    graph_.operations.push_back(operation);
  }

  void check_channels(const std::vector<int>& arrays, int64_t channels) const {
    for (const int array : arrays)
      if (shape(array) != Shape{1, 1, 1, channels})
        refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "an array of channels has another shape");
  }

  // Each tensor is written once at most, a virtual one before it is read.
  void check_flow() const {
    std::set<int> written, read;
    for (const GraphOperation& operation : graph_.operations) {
      for (const int number : operation.reads) {
        need(!graph_.tensor(number).is_virtual || written.count(number) > 0,
             "a virtual tensor is read before it is there");
        read.insert(number);
      }
      for (const int number : operation.writes)
        need(read.count(number) == 0 && written.insert(number).second, "a tensor is written after it was used");
    }
  }

  OperationGraph graph_;
  std::map<int64_t, int> numbers_;
};

const char* name_of(const GraphOperation& operation) {
  switch (operation.step) {
    case GraphStep::forward:
      return "forward";
    case GraphStep::data_gradient:
      return "data_gradient";
    case GraphStep::weight_gradient:
      return "weight_gradient";
    case GraphStep::statistics:
      return "statistics";
    case GraphStep::batch_norm_reductions:
      return "reductions";
    case GraphStep::pointwise:
      break;
  }
  switch (operation.mode) {
    case CUDNN_POINTWISE_ADD:
      return "add";
    case CUDNN_POINTWISE_SUB:
      return "sub";
    case CUDNN_POINTWISE_MUL:
      return "mul";
    case CUDNN_POINTWISE_RELU_FWD:
      return "relu";
    default:
      return "relu_gradient";
  }
}

std::string labelled(const char* label, int64_t number) { return std::string(label) + std::to_string(number); }

// x, w and y of the convolution.
struct Operands {
  const Shape &x, &w, &y;
};
Operands operands_of(const OperationGraph& graph) {
  const GraphOperation& c = graph.convolution();
  const auto shape = [&](int number) -> const Shape& { return graph.tensor(number).shape; };
  switch (c.step) {
    case GraphStep::forward:
      return {shape(c.reads[0]), shape(c.reads[1]), shape(c.writes[0])};
    case GraphStep::data_gradient:
      return {shape(c.writes[0]), shape(c.reads[1]), shape(c.reads[0])};
    default:
      return {shape(c.reads[0]), shape(c.writes[0]), shape(c.reads[1])};
  }
}

}  // namespace

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_FLOAT:
    case CUDNN_TYPE_INT32:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_POINTWISE_MODE:
    case CUDNN_TYPE_NAN_PROPOGATION:
    case CUDNN_TYPE_GENSTATS_MODE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_KNOB_TYPE:
    case CUDNN_TYPE_NUMERICAL_NOTE:
    case CUDNN_TYPE_BEHAVIOR_NOTE:
      return 4;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    default:
      return 0;
  }
}

void DescriptorData::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t of_type, int64_t count,
                         const void* values) {
  check_known(*this, name, of_type, count);
  need(values != nullptr, "an attribute has no values");
  const auto* first = static_cast<const std::byte*>(values);
  attributes[name] = {of_type, count, {first, first + static_cast<size_t>(count) * size_of(of_type)}, {}};
}

void DescriptorData::set(cudnnBackendAttributeName_t name, std::vector<std::shared_ptr<const DescriptorData>> others) {
  const auto count = static_cast<int64_t>(others.size());
  check_known(*this, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count);
  for (const auto& other : others)
    if (!other->finalized) refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "an attribute is not finalised");
  attributes[name] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, count, {}, std::move(others)};
}

const Attribute& DescriptorData::at(cudnnBackendAttributeName_t name) const {
  const auto found = attributes.find(name);
  if (found == attributes.end()) refuse(CUDNN_STATUS_BAD_PARAM, "attribute " + std::to_string(name) + " was not set");
  return found->second;
}

const DescriptorData& DescriptorData::descriptor(cudnnBackendAttributeName_t name) const {
  const Attribute& attribute = at(name);
  need(attribute.descriptors.size() == 1, "an attribute is not one descriptor");
  return *attribute.descriptors.front();
}

const GraphOperation& OperationGraph::convolution() const {
  return *std::find_if(operations.begin(), operations.end(),
                       [](const GraphOperation& o) { return o.step <= GraphStep::weight_gradient; });
}

OperationGraph graph_of(const DescriptorData& operation_graph) { return Reader().read(operation_graph); }

std::string signature_of(const OperationGraph& graph) {
  std::set<int> told;
  std::string text;
  const auto tell = [&](int number, bool is_array) {
    text += labelled(" t", number);
    if (!told.insert(number).second) return;
    const GraphTensor& tensor = graph.tensor(number);
    text += '[';
    text += packhorse::name_of(tensor.dtype);
    if (is_array) text += " array";
    if (tensor.is_virtual) text += " virtual";
    if (!tensor.is_dense) text += " strided";
    if (tensor.alignment != 16) text += labelled(" aligned ", tensor.alignment);
    text += ']';
  };
  for (const GraphOperation& operation : graph.operations) {
    text += (text.empty() ? "" : "; ") + std::string(name_of(operation));
    const bool is_reduction = operation.step >= GraphStep::statistics;
    for (size_t i = 0; i < operation.reads.size(); ++i) {
      const bool is_pointwise_array = operation.step == GraphStep::pointwise &&
                                      graph.tensor(operation.reads[i]).shape != graph.tensor(operation.writes[0]).shape;
      tell(operation.reads[i], is_pointwise_array || (is_reduction && i >= 2));
    }
    text += " ->";
    for (const int number : operation.writes) tell(number, is_reduction);
    if (operation.step > GraphStep::weight_gradient) continue;
    const auto divisor = [](int64_t channels) { return channels % 8 == 0 ? 8 : channels % 4 == 0 ? 4 : 1; };
    const Operands operands = operands_of(graph);
    text += labelled(" k", operation.kernel) + labelled(" s", operation.stride) + labelled(" p", operation.pad) +
            labelled(" c", divisor(operands.x.c)) + labelled(" o", divisor(operands.y.c)) +
            (operation.beta == 0 ? "" : " added");
  }
  return text;
}

std::string sizes_of(const OperationGraph& graph) {
  const Operands operands = operands_of(graph);
  return labelled("n", operands.x.n) + labelled(" h", operands.x.h) + labelled(" w", operands.x.w) +
         labelled(" c", operands.x.c) + labelled(" o", operands.y.c);
}

}  // namespace packhorse::standin

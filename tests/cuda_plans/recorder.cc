#include "cuda_plans/recorder.h"

#include <cudnn.h>
#include <dlfcn.h>

#include <map>
#include <memory>
#include <vector>

#include "standin/cudnn_graph.h"

namespace packhorse {
namespace {

using standin::DescriptorData;

thread_local RecordedGraph last;
thread_local std::map<cudnnBackendDescriptor_t, std::shared_ptr<DescriptorData>> recorded;

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool belongs_to_a_graph(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return true;
    default:
      return false;
  }
}

}  // namespace

const RecordedGraph& last_graph() { return last; }

}  // namespace packhorse

using packhorse::recorded;

extern "C" {

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  static auto* const create = packhorse::real<decltype(cudnnBackendCreateDescriptor)>("cudnnBackendCreateDescriptor");
  const cudnnStatus_t status = create(type, descriptor);
  if (status == CUDNN_STATUS_SUCCESS && packhorse::belongs_to_a_graph(type)) {
    auto data = std::make_shared<packhorse::standin::DescriptorData>();
    data->type = type;
    recorded[*descriptor] = data;
  }
  return status;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  static auto* const destroy =
      packhorse::real<decltype(cudnnBackendDestroyDescriptor)>("cudnnBackendDestroyDescriptor");
  recorded.erase(descriptor);
  return destroy(descriptor);
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  static auto* const set = packhorse::real<decltype(cudnnBackendSetAttribute)>("cudnnBackendSetAttribute");
  const auto found = recorded.find(descriptor);
  if (found != recorded.end()) {
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
      std::vector<std::shared_ptr<const packhorse::standin::DescriptorData>> others;
      for (int64_t i = 0; i < count; ++i)
        others.push_back(recorded.at(static_cast<const cudnnBackendDescriptor_t*>(values)[i]));
      found->second->set(name, std::move(others));
    } else {
      found->second->set(name, type, count, values);
    }
  }
  return set(descriptor, name, type, count, values);
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  static auto* const finalize = packhorse::real<decltype(cudnnBackendFinalize)>("cudnnBackendFinalize");
  const auto found = recorded.find(descriptor);
  if (found != recorded.end()) {
    found->second->finalized = true;
    if (found->second->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
      const packhorse::standin::OperationGraph graph = packhorse::standin::graph_of(*found->second);
      packhorse::last = {packhorse::standin::signature_of(graph), packhorse::standin::sizes_of(graph)};
    }
  }
  return finalize(descriptor);
}

}  // extern "C"

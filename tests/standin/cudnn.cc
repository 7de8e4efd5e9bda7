// A stand-in for libcudnn.so.9: convolutions and what is fused around them, on the processor.
//
// It refuses what the real library refuses: a graph whose signature is not in the table that the real library filled
// (tests/cuda_plans/signatures.txt, or the file that PACKHORSE_STANDIN_CUDNN names), a workspace that is too small,
// pointers that are not aligned, the first use of a plan in a capture (the real one loads its kernels then). It is
// stricter where the real one would only be wrong: results that overlap operands end the process.
//
// Execution goes onto the handle's stream (standin.h). A workspace is filled with 0xff before and after, as it has no
// contents to rely on.
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "standin/cudnn_graph.h"
#include "standin/cudnn_run.h"
#include "standin/standin.h"

struct cudnnContext {
  int device = 0;
  cudaStream_t stream = nullptr;
};

namespace packhorse::standin {
namespace {

constexpr uintptr_t kWorkspaceAlignment = 256;

// ---- What the real library has plans for

struct Engine {
  std::string name;  // "eng24_k2=12_k3=0"
  int64_t workspace = 0;
  bool deterministic = true, tensor_cores = false, runtime_compiled = false;
};

struct TableLine {
  std::string sizes;
  std::vector<Engine> engines;
};

// A line of the table: SIGNATURE | SIZES | ENGINE WORKSPACE NOTES, ... Notes: letters n (not deterministic), t (tensor
// cores), r (compiled at run time), or "-".
class Table {
 public:
  Table() {
    const char* chosen = std::getenv("PACKHORSE_STANDIN_CUDNN");
    const std::string path = chosen != nullptr ? chosen : PACKHORSE_ROOT "/tests/cuda_plans/signatures.txt";
    std::ifstream file(path);
    if (!file) abort_with("cudnn: the table " + path + " cannot be read");
    for (std::string line; std::getline(file, line);) {
      if (line.empty() || line[0] == '#') continue;
      const size_t first = line.find(" | "), second = line.find(" | ", first + 1);
      if (second == std::string::npos)
        abort_with(std::string("cudnn: a damaged line of ").append(path).append(": ").append(line));
      TableLine entry{line.substr(first + 3, second - first - 3), {}};
      std::istringstream engines(line.substr(second + 3));
      for (std::string text; std::getline(engines, text, ',');) {
        std::istringstream words(text);
        Engine engine;
        std::string notes;
        words >> engine.name >> engine.workspace >> notes;
        engine.deterministic = notes.find('n') == std::string::npos;
        engine.tensor_cores = notes.find('t') != std::string::npos;
        engine.runtime_compiled = notes.find('r') != std::string::npos;
        entry.engines.push_back(engine);
      }
      lines_[line.substr(0, first)].push_back(std::move(entry));
    }
  }

  // The line with the same sizes; if there is none, one with other sizes, its workspaces in proportion.
  std::vector<Engine> engines_for(const OperationGraph& graph) const {
    const auto found = lines_.find(signature_of(graph));
    if (found == lines_.end()) return {};
    const std::string sizes = sizes_of(graph);
    for (const TableLine& line : found->second)
      if (line.sizes == sizes) return line.engines;
    std::vector<Engine> engines = found->second.front().engines;
    const double share = volume(sizes) / volume(found->second.front().sizes);
    constexpr int64_t kFixed = 4096;  // so few bytes do not depend on the sizes
    for (Engine& engine : engines)
      if (engine.workspace > kFixed)
        engine.workspace = kFixed + static_cast<int64_t>(static_cast<double>(engine.workspace - kFixed) * share);
    return engines;
  }

 private:
  static double volume(const std::string& sizes) {
    double n = 0, h = 0, w = 0, c = 0, o = 0;
    if (std::sscanf(sizes.c_str(), "n%lf h%lf w%lf c%lf o%lf", &n, &h, &w, &c, &o) != 5)
      abort_with("cudnn: the table's sizes are damaged: " + sizes);
    return n * h * w * (c + o);
  }

  std::map<std::string, std::vector<TableLine>> lines_;
};

const Table& table() {
  static const Table table;
  return table;
}

// ---- Descriptors and handles

struct Plan {
  OperationGraph graph;
  Engine engine;
  std::string name;
  bool is_loaded = false;  // it was executed outside of a capture
};

// What the user holds. Other descriptors share its data, so that it may go before they do.
struct Box {
  std::shared_ptr<DescriptorData> data;
  std::shared_ptr<Plan> plan;
};

[[noreturn]] void refuse(cudnnStatus_t status, const std::string& what) { throw CudnnRefusal(status, what); }

std::mutex mutex;
std::set<void*> boxes, handles;
thread_local std::string last_error;

Box& box_of(cudnnBackendDescriptor_t descriptor) {
  const std::lock_guard lock(mutex);
  if (boxes.count(descriptor) == 0) abort_with("cudnn: a descriptor that does not exist, or not any more");
  return *static_cast<Box*>(descriptor);
}

cudnnContext& context_of(cudnnHandle_t handle) {
  const std::lock_guard lock(mutex);
  if (handles.count(handle) == 0) abort_with("cudnn: a handle that does not exist, or not any more");
  return *handle;
}

template <typename Call>
cudnnStatus_t answer(const Call& call) {
  try {
    call();
    return CUDNN_STATUS_SUCCESS;
  } catch (const CudnnRefusal& why) {
    last_error = why.what();
    return why.status();
  }
}

template <typename T>
void put(DescriptorData& data, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
         const std::vector<T>& values) {
  Attribute& attribute = data.attributes[name];
  attribute = {type, static_cast<int64_t>(values.size()), std::vector<std::byte>(values.size() * sizeof(T)), {}};
  if (!values.empty()) std::memcpy(attribute.bytes.data(), values.data(), attribute.bytes.size());
}
void put(DescriptorData& data, cudnnBackendAttributeName_t name,
         const std::vector<std::shared_ptr<const DescriptorData>>& others) {
  data.attributes[name] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(others.size()), {}, others};
}
std::shared_ptr<DescriptorData> made(cudnnBackendDescriptorType_t type) {
  auto data = std::make_shared<DescriptorData>();
  data->type = type;
  data->finalized = true;
  return data;
}

// ---- From a graph to a plan

std::shared_ptr<const DescriptorData> config_of(const Engine& engine,
                                                const std::shared_ptr<const DescriptorData>& graph) {
  std::istringstream parts(engine.name.substr(3));  // after "eng"
  std::string part;
  std::getline(parts, part, '_');
  const auto number = made(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  put(*number, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, std::vector<int64_t>{std::stoll(part)});
  put(*number, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, {graph});
  std::vector<cudnnBackendNumericalNote_t> notes;
  if (engine.tensor_cores) notes.push_back(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  if (!engine.deterministic) notes.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  put(*number, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, notes);
  std::vector<cudnnBackendBehaviorNote_t> behaviour;
  if (engine.runtime_compiled) behaviour.push_back(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
  put(*number, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, behaviour);

  std::vector<std::shared_ptr<const DescriptorData>> choices;
  while (std::getline(parts, part, '_')) {
    const size_t equals = part.find('=');
    const auto choice = made(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    put(*choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE,
        std::vector<int32_t>{std::stoi(part.substr(1, equals - 1))});
    put(*choice, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64,
        std::vector<int64_t>{std::stoll(part.substr(equals + 1))});
    choices.push_back(choice);
  }
  const auto config = made(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  put(*config, CUDNN_ATTR_ENGINECFG_ENGINE, {number});
  put(*config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, choices);
  put(*config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, std::vector<int64_t>{engine.workspace});
  return config;
}

// The first engines of the table are heuristic A's, the last one is the fallback.
void find_engines(DescriptorData& heuristics) {
  const auto& graph = heuristics.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).descriptors.at(0);
  if (!graph->has(CUDNN_ATTR_OPERATIONGRAPH_HANDLE) && !heuristics.has(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP))
    refuse(CUDNN_STATUS_BAD_PARAM, "heuristics have neither a handle nor a device's properties");
  std::vector<Engine> engines = table().engines_for(graph_of(*graph));
  const bool is_fallback =
      heuristics.value<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
  if (engines.size() > 1) {
    if (is_fallback)
      engines.erase(engines.begin(), engines.end() - 1);
    else
      engines.pop_back();
  }
  std::vector<std::shared_ptr<const DescriptorData>> configs;
  configs.reserve(engines.size());
  for (const Engine& engine : engines) configs.push_back(config_of(engine, graph));
  put(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, configs);
}

std::shared_ptr<Plan> plan_of(DescriptorData& data) {
  const DescriptorData& config = data.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (config.type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
    refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a plan's configuration is none");
  const DescriptorData& engine = config.descriptor(CUDNN_ATTR_ENGINECFG_ENGINE);
  auto plan = std::make_shared<Plan>();
  plan->graph = graph_of(engine.descriptor(CUDNN_ATTR_ENGINE_OPERATION_GRAPH));
  plan->engine.workspace = config.value<int64_t>(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE);
  const auto notes = engine.values<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
  plan->engine.tensor_cores = std::count(notes.begin(), notes.end(), CUDNN_NUMERICAL_NOTE_TENSOR_CORE) > 0;
  plan->name = "cudnn " + sizes_of(plan->graph);
  put(data, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, std::vector<int64_t>{plan->engine.workspace});
  return plan;
}

// ---- Execution

struct Range {
  std::string what;
  uintptr_t first = 0;
  size_t bytes = 0;
  bool is_written = false;
};

// All that a run may touch. Ends the process if a result overlaps anything else.
std::vector<Range> ranges_of(const Plan& plan, const std::map<int64_t, void*>& addresses, void* workspace) {
  std::set<int> written;
  for (const GraphOperation& operation : plan.graph.operations)
    written.insert(operation.writes.begin(), operation.writes.end());
  std::vector<Range> ranges;
  for (size_t i = 0; i < plan.graph.tensors.size(); ++i) {
    const GraphTensor& tensor = plan.graph.tensors[i];
    if (tensor.is_virtual) continue;
    const auto found = addresses.find(tensor.uid);
    if (found == addresses.end())
      refuse(CUDNN_STATUS_BAD_PARAM, "no pointer for the tensor with the uid " + std::to_string(tensor.uid));
    const auto first = reinterpret_cast<uintptr_t>(found->second);
    if (first % static_cast<uintptr_t>(tensor.alignment) != 0)
      refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
             "the tensor with the uid " + std::to_string(tensor.uid) + " is not where its alignment says");
    ranges.push_back(
        {"tensor " + std::to_string(tensor.uid), first, tensor.bytes(), written.count(static_cast<int>(i)) > 0});
  }
  if (plan.engine.workspace > 0)
    ranges.push_back(
        {"workspace", reinterpret_cast<uintptr_t>(workspace), static_cast<size_t>(plan.engine.workspace), true});
  for (const Range& range : ranges)
    for (const Range& other : ranges)
      if (&range != &other && range.is_written && range.first < other.first + other.bytes &&
          other.first < range.first + range.bytes)
        abort_with(plan.name + ": " + range.what + " overlaps " + other.what);
  return ranges;
}

void check_workspace(const Plan& plan, const void* workspace) {
  if (plan.engine.workspace == 0) return;
  if (workspace == nullptr) refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a plan has no workspace");
  if (reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0)
    refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "a workspace is not 256-byte aligned");
  if (bytes_from(workspace) < static_cast<size_t>(plan.engine.workspace))
    abort_with(plan.name + ": the workspace is smaller than the plan's " + std::to_string(plan.engine.workspace) +
               " bytes");
}

void execute(cudnnContext& context, const std::shared_ptr<Plan>& plan, const DescriptorData& pack) {
  const auto uids = pack.values<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.values<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  void* workspace =
      pack.has(CUDNN_ATTR_VARIANT_PACK_WORKSPACE) ? pack.value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE) : nullptr;
  std::map<int64_t, void*> addresses;
  for (size_t i = 0; i < uids.size(); ++i) addresses[uids[i]] = pointers[i];
  check_workspace(*plan, workspace);
  const std::vector<Range> ranges = ranges_of(*plan, addresses, workspace);
  if (is_capturing(context.stream)) {
    if (!plan->is_loaded) {
      refused_by_capture();  // as the driver's allocation would, with which kernels are loaded
      refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER, "a plan is used for the first time in a capture");
    }
  } else {
    plan->is_loaded = true;
  }
  const auto work = [plan, addresses, ranges, workspace] {
    for (const Range& range : ranges)
      check_range(reinterpret_cast<const void*>(range.first), range.bytes, plan->name + ": " + range.what);
    const auto spoil = [&] {
      if (plan->engine.workspace > 0) std::memset(workspace, 0xff, static_cast<size_t>(plan->engine.workspace));
    };
    spoil();
    const bool is_f32 = plan->graph.tensor(plan->graph.convolution().reads[0]).dtype == Dtype::f32;
    run(plan->graph, addresses, is_f32 && plan->engine.tensor_cores);
    spoil();
  };
  if (enqueue(context.stream, plan->name, work) != cudaSuccess)
    refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "the stream takes no work");
}

void check_pack(const DescriptorData& pack) {
  auto uids = pack.values<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.values<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (uids.size() != pointers.size()) refuse(CUDNN_STATUS_BAD_PARAM, "uids and pointers are not equally many");
  if (std::count(pointers.begin(), pointers.end(), nullptr) > 0)
    refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a pointer is null");
  std::sort(uids.begin(), uids.end());
  if (std::adjacent_find(uids.begin(), uids.end()) != uids.end())
    refuse(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "a uid is there twice");
}

void finalize(Box& box) {
  DescriptorData& data = *box.data;
  if (data.finalized) refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor is finalised twice");
  data.finalized = true;
  try {
    switch (data.type) {
      case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        graph_of(data);
        break;
      case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        find_engines(data);
        break;
      case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        box.plan = plan_of(data);
        break;
      case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        check_pack(data);
        break;
      default:
        break;
    }
  } catch (...) {
    data.finalized = false;
    throw;
  }
}

void get(const Box& box, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t most,
         int64_t* found, void* values) {
  if (!box.data->finalized)
    refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor is asked before it is finalised");
  const Attribute& attribute = box.data->at(name);
  if (attribute.type != type) refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "an attribute has another type");
  const int64_t given = std::min(most, attribute.count);
  // The real library counts no more knobs than it was asked for.
  if (found != nullptr) *found = name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES ? given : attribute.count;
  if (values == nullptr || given == 0) return;
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    std::memcpy(values, attribute.bytes.data(), static_cast<size_t>(given) * size_of(type));
    return;
  }
  // The descriptors are the caller's; they become what the attribute holds.
  for (int64_t i = 0; i < given; ++i) {
    Box& into = box_of(static_cast<cudnnBackendDescriptor_t*>(values)[i]);
    const auto& from = attribute.descriptors[static_cast<size_t>(i)];
    if (into.data->type != from->type) refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a descriptor has another type");
    into.data = std::make_shared<DescriptorData>(*from);
  }
}

}  // namespace
}  // namespace packhorse::standin

using namespace packhorse::standin;

extern "C" {

size_t cudnnGetVersion() { return CUDNN_VERSION; }

size_t cudnnGetCudartVersion() { return CUDART_VERSION; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (CUDNN_STATUS_CATEGORY(status)) {
    case 0:
      return "CUDNN_STATUS_SUCCESS";
    case 2000:
      return "CUDNN_STATUS_BAD_PARAM";
    case 3000:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case 5000:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_STATUS_INTERNAL_ERROR";
  }
}

void cudnnGetLastErrorString(char* message, size_t max_size) {
  if (max_size > 0) message[last_error.copy(message, max_size - 1)] = 0;
  last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  return answer([&] {
    int device = 0;
    if (refused_by_capture() || cudaGetDevice(&device) != cudaSuccess)
      throw CudnnRefusal(CUDNN_STATUS_NOT_INITIALIZED, "no handle can be made now");
    *handle = new cudnnContext{device, nullptr};
    const std::lock_guard lock(mutex);
    handles.insert(*handle);
  });
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return answer([&] {
    const cudnnContext* context = &context_of(handle);
    const std::lock_guard lock(mutex);
    handles.erase(handle);
    delete context;
  });
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return answer([&] {
    cudnnContext& context = context_of(handle);
    if (device_of(stream) != context.device)
      throw CudnnRefusal(CUDNN_STATUS_BAD_PARAM_STREAM_MISMATCH, "the stream is not on the handle's device");
    context.stream = stream;
  });
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  return answer([&] { *stream = context_of(handle).stream; });
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  return answer([&] {
    auto* box = new Box{std::make_shared<DescriptorData>(), nullptr};
    box->data->type = type;
    const std::lock_guard lock(mutex);
    boxes.insert(box);
    *descriptor = box;
  });
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return answer([&] {
    const Box* box = &box_of(descriptor);
    const std::lock_guard lock(mutex);
    boxes.erase(descriptor);
    delete box;
  });
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  return answer([&] {
    DescriptorData& data = *box_of(descriptor).data;
    if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return data.set(name, type, count, values);
    std::vector<std::shared_ptr<const DescriptorData>> others;
    for (int64_t i = 0; i < count; ++i)
      others.push_back(box_of(static_cast<const cudnnBackendDescriptor_t*>(values)[i]).data);
    data.set(name, std::move(others));
  });
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most, int64_t* found, void* values) {
  return answer([&] { get(box_of(descriptor), name, type, most, found, values); });
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return answer([&] { finalize(box_of(descriptor)); });
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  return answer([&] {
    const Box &plans = box_of(plan), &pointers = box_of(pack);
    if (plans.plan == nullptr || !pointers.data->finalized ||
        pointers.data->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
      throw CudnnRefusal(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "no finalised plan, or no finalised pointers");
    execute(context_of(handle), plans.plan, *pointers.data);
  });
}

}  // extern "C"

#include "standin/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "standin/fibres.h"
#include "standin/standin.h"

namespace packhorse::standin {
namespace {

thread_local int device_of_thread = 0;
thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;

bool is_legacy_handle(cudaStream_t handle) { return handle == nullptr || handle == cudaStreamLegacy; }

std::shared_ptr<const Work> nothing(const char* what) { return std::make_shared<const Work>(Work{.what = what}); }

/// Bytes of one node's parameters, each where its type can lie.
class Arguments {
 public:
  Arguments(const std::vector<Parameter>& parameters, void** arguments) {
    constexpr size_t kAlign = alignof(std::max_align_t);
    size_t bytes = 0;
    for (const Parameter& one : parameters) {
      offsets_.push_back(bytes);
      bytes += (one.bytes + kAlign - 1) / kAlign * kAlign;
    }
    bytes_.resize(bytes / kAlign);
    for (size_t i = 0; i < parameters.size(); ++i) std::memcpy(at(i), arguments[i], parameters[i].bytes);
  }
  void* at(size_t i) { return reinterpret_cast<std::byte*>(bytes_.data()) + offsets_[i]; }
  const void* pointer(size_t i) {
    const void* value = nullptr;
    std::memcpy(&value, at(i), sizeof value);
    return value;
  }

 private:
  std::vector<size_t> offsets_;
  std::vector<std::max_align_t> bytes_;
};

/// Where a copy's end lies.
enum class Side { device, locked, pageable, unknown };

}  // namespace

int& current_device() { return device_of_thread; }
cudaStreamCaptureMode& capture_mode() { return mode_of_thread; }

// ---- Settings -------------------------------------------------------------------------------------------------------

Settings::Settings() {
  const auto number = [](const char* name, unsigned long long otherwise) {
    const char* text = std::getenv(name);
    if (text == nullptr) return otherwise;
    char* end = nullptr;
    const unsigned long long value = std::strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') abort_with(std::string(name) + "=" + text + " is no number");
    return value;
  };
  seed = number("PACKHORSE_STANDIN_SEED", 0);
  memory = number("PACKHORSE_STANDIN_MEMORY", memory);
  const char* text = std::getenv("PACKHORSE_STANDIN_DEVICES");
  driver = text == nullptr || std::string(text) != "nodriver";
  const auto count = driver ? static_cast<int>(number("PACKHORSE_STANDIN_DEVICES", 1)) : 0;
  constexpr int kMostDevices = 15;  // a protection key each
  if (count > kMostDevices) abort_with("PACKHORSE_STANDIN_DEVICES: 15 at most");
  trace = std::getenv("PACKHORSE_STANDIN_TRACE") != nullptr;
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) {
    for (int device = 0; device < count; ++device) devices.push_back(device);
    return;
  }
  // The first number that names no device ends the list, as in CUDA.
  std::istringstream list(visible);
  for (std::string one; std::getline(list, one, ',');) {
    char* end = nullptr;
    const long device = std::strtol(one.c_str(), &end, 10);
    if (end == one.c_str() || device < 0 || device >= count) break;
    devices.push_back(static_cast<int>(device));
  }
}

const Settings& settings() {
  static const Settings it;
  return it;
}

Runtime* runtime() {
  // Never destroyed: exit handlers still free memory.
  static auto* it = settings().devices.empty() ? nullptr : new Runtime(settings());
  return it;
}

Runtime::Runtime(const Settings& from)
    : devices(static_cast<int>(from.devices.size())), nodes(devices, from.memory, from.seed, from.trace) {
  for (int device = 0; device < devices; ++device) {
    legacy_.push_back(new CUstream_st{
        .number = numbers_++, .device = device, .blocking = false, .tail = {}, .capture = {}, .capture_tail = {}});
  }
  install_fault_handler(nodes);
}

// ---- Streams and events ---------------------------------------------------------------------------------------------

CUstream_st* Runtime::stream(cudaStream_t handle) {
  if (handle == cudaStreamPerThread) abort_with("the stand-in has no cudaStreamPerThread");
  if (is_legacy_handle(handle)) return legacy_[static_cast<size_t>(current_device())];
  return alive(streams_, handle);
}

CUstream_st* Runtime::make_stream(int device, bool blocking, int priority) {
  auto* stream = new CUstream_st{.number = numbers_++,
                                 .device = device,
                                 .blocking = blocking,
                                 .priority = priority,
                                 .tail = {},
                                 .capture = {},
                                 .capture_tail = {}};
  streams_.insert(stream);
  return stream;
}

CUevent_st* Runtime::make_event(int device, bool timing) {
  auto* event = new CUevent_st{.device = device, .timing = timing, .node = {}, .capture = {}, .captured = {}};
  events_.insert(event);
  return event;
}

std::vector<NodePtr> Runtime::before(const CUstream_st& stream) const {
  std::vector<NodePtr> all = stream.tail;
  const auto with = [&](const CUstream_st& other) { all.insert(all.end(), other.tail.begin(), other.tail.end()); };
  CUstream_st* legacy = legacy_[static_cast<size_t>(stream.device)];
  if (stream.blocking) with(*legacy);
  if (&stream == legacy)
    for (const CUstream_st* other : streams_)
      if (other->blocking && other->device == stream.device) with(*other);
  return all;
}

cudaError_t Runtime::enqueue(CUstream_st& stream, Work work) {
  if (&stream == legacy_[static_cast<size_t>(stream.device)]) {
    // It would wait for streams that do nothing at the moment but capture.
    bool implicit = false;
    for (const auto& capture : captures_) {
      const bool blocking = std::ranges::any_of(capture->streams, [&](const CUstream_st* other) {
        return other->blocking && other->device == stream.device;
      });
      if (!blocking) continue;
      capture->valid = false;
      implicit = true;
    }
    if (implicit) return cudaErrorStreamCaptureImplicit;
  }
  auto shared = std::make_shared<const Work>(std::move(work));
  if (stream.capture != nullptr) {
    if (!stream.capture->valid) return cudaErrorStreamCaptureInvalidated;
    stream.capture->nodes.push_back({std::move(shared), stream.number, stream.capture_tail});
    stream.capture_tail = {stream.capture->nodes.size() - 1};
    return cudaSuccess;
  }
  stream.tail = {nodes.add(std::move(shared), stream.device, stream.number, before(stream))};
  return cudaSuccess;
}

cudaError_t Runtime::record(CUevent_st& event, CUstream_st& stream) {
  if (event.device != stream.device) return cudaErrorInvalidResourceHandle;
  if (stream.capture != nullptr) {
    if (!stream.capture->valid) return cudaErrorStreamCaptureInvalidated;
    event.capture = stream.capture;
    event.captured = stream.capture_tail;
    event.node = nullptr;
    return cudaSuccess;
  }
  const cudaError_t error = enqueue(stream, {.what = "record of an event"});
  if (error != cudaSuccess) return error;
  event.node = stream.tail.front();
  event.capture = nullptr;
  return cudaSuccess;
}

cudaError_t Runtime::wait(CUstream_st& stream, CUevent_st& event) {
  Capture* own = stream.capture.get();
  if (own != nullptr && !own->valid) return cudaErrorStreamCaptureInvalidated;
  if (event.capture == nullptr) {
    if (event.node == nullptr) return cudaSuccess;  // never recorded: nothing to wait for
    if (own != nullptr) return invalidate(*own, cudaErrorStreamCaptureIsolation);
    if (!event.node->done) stream.tail.push_back(event.node);
    return cudaSuccess;
  }
  Capture& other = *event.capture;
  if (other.ended) {
    return own == nullptr ? cudaErrorCapturedEvent : invalidate(*own, cudaErrorStreamCaptureIsolation);
  }
  if (!other.valid) return cudaErrorStreamCaptureInvalidated;
  if (own != nullptr && own != &other) {
    invalidate(other, cudaErrorStreamCaptureMerge);
    return invalidate(*own, cudaErrorStreamCaptureMerge);
  }
  if (own == nullptr) {
    if (&stream == legacy_[static_cast<size_t>(stream.device)]) {
      return invalidate(other, cudaErrorStreamCaptureImplicit);
    }
    stream.capture = event.capture;
    stream.capture_tail.clear();
    other.streams.push_back(&stream);
  }
  for (const size_t node : event.captured) {
    if (std::ranges::find(stream.capture_tail, node) == stream.capture_tail.end()) stream.capture_tail.push_back(node);
  }
  return cudaSuccess;
}

// ---- Captures and graphs --------------------------------------------------------------------------------------------

bool Runtime::refused_by_capture() {
  if (capture_mode() == cudaStreamCaptureModeRelaxed) return false;
  bool refused = false;
  for (const auto& capture : captures_) {
    const bool own = capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool other = capture_mode() == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!own && !other) continue;
    capture->valid = false;
    refused = true;
  }
  return refused;
}

bool Runtime::capturing_on(int device) const {
  return std::ranges::any_of(captures_, [&](const auto& capture) { return capture->origin->device == device; });
}

cudaError_t Runtime::begin_capture(CUstream_st& stream, cudaStreamCaptureMode mode) {
  if (&stream == legacy_[static_cast<size_t>(stream.device)]) return cudaErrorStreamCaptureUnsupported;
  if (stream.capture != nullptr) return cudaErrorIllegalState;
  stream.capture = std::make_shared<Capture>(Capture{.number = ++capture_numbers_,
                                                     .mode = mode,
                                                     .thread = std::this_thread::get_id(),
                                                     .origin = &stream,
                                                     .nodes = {},
                                                     .streams = {&stream}});
  stream.capture_tail.clear();
  captures_.push_back(stream.capture);
  return cudaSuccess;
}

cudaError_t Runtime::end_capture(CUstream_st& stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream.capture;
  if (capture == nullptr) return cudaErrorIllegalState;
  if (capture->origin != &stream) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return invalidate(*capture, cudaErrorStreamCaptureWrongThread);
  }
  // All that was captured has to come before the end of the stream where the capture began.
  std::vector<bool> joined(capture->nodes.size());
  for (const size_t node : stream.capture_tail) joined[node] = true;
  for (size_t i = capture->nodes.size(); i-- > 0;)
    if (joined[i])
      for (const size_t node : capture->nodes[i].after) joined[node] = true;
  const bool all = std::ranges::all_of(joined, [](bool one) { return one; });
  capture->ended = true;
  for (CUstream_st* one : capture->streams) one->capture = nullptr;
  std::erase(captures_, capture);
  if (!capture->valid) return cudaErrorStreamCaptureInvalidated;
  if (!all) return cudaErrorStreamCaptureUnjoined;
  auto* made = new CUgraph_st{.device = stream.device, .nodes = std::move(capture->nodes), .handles = {}};
  for (const Captured& node : made->nodes) {
    made->handles.push_back({node.work->on_host ? cudaGraphNodeTypeHost : cudaGraphNodeTypeKernel});
  }
  graphs_.insert(made);
  *graph = made;
  return cudaSuccess;
}

cudaError_t Runtime::instantiate(const CUgraph_st& graph, cudaGraphExec_t* exec) {
  *exec = new CUgraphExec_st{.device = graph.device, .nodes = graph.nodes, .last = {}};
  execs_.insert(*exec);
  return cudaSuccess;
}

cudaError_t Runtime::launch(CUgraphExec_st& exec, CUstream_st& stream) {
  if (stream.capture != nullptr) abort_with("the stand-in launches no graph within a capture");
  if (stream.device != exec.device) return cudaErrorInvalidValue;
  // One launch after the other, whatever streams they are in.
  if (exec.last != nullptr && !exec.last->done) stream.tail.push_back(exec.last);
  cudaError_t error = enqueue(stream, {.what = "begin of a graph"});
  if (error != cudaSuccess) return error;
  const NodePtr begin = stream.tail.front();
  std::vector<NodePtr> all{begin};
  for (const Captured& node : exec.nodes) {
    std::vector<NodePtr> after{begin};
    for (const size_t other : node.after) after.push_back(all[other + 1]);
    all.push_back(nodes.add(node.work, exec.device, node.lane, after));
  }
  exec.last = nodes.add(nothing("end of a graph"), exec.device, stream.number, all);
  stream.tail = {exec.last};
  return cudaSuccess;
}

// ---- Work -----------------------------------------------------------------------------------------------------------

bool Runtime::in_one(const void* address, size_t bytes) const {
  const Allocation* allocation = nodes.memory.find(address);
  return allocation != nullptr &&
         bytes <= static_cast<size_t>(allocation->begin + allocation->bytes - static_cast<const std::byte*>(address));
}

cudaError_t Runtime::launch_kernel(Function& function, dim3 grid, dim3 threads, void** arguments, size_t dynamic,
                                   CUstream_st& stream) {
  const Kernel& kernel = kernel_of(function);
  if (stream.device != current_device()) return cudaErrorInvalidResourceHandle;
  constexpr unsigned kMostX = 0x7fffffff, kMostYz = 65535, kMostDeep = 64;
  constexpr uint64_t kRegisters = 65536, kUnit = 256;
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  if (count == 0 || count > kMaxThreads || threads.z > kMostDeep) return cudaErrorInvalidConfiguration;
  if (uint64_t{grid.x} * grid.y * grid.z == 0 || grid.x > kMostX || grid.y > kMostYz || grid.z > kMostYz) {
    return cudaErrorInvalidConfiguration;
  }
  if (dynamic > std::max(function.dynamic_limit, kSharedDefault - std::min(kSharedDefault, kernel.shared_bytes))) {
    return cudaErrorInvalidValue;
  }
  const uint64_t warp_registers = (uint64_t{kernel.registers} * kWarp + kUnit - 1) / kUnit * kUnit;
  if (warp_registers * ((count + kWarp - 1) / kWarp) > kRegisters) return cudaErrorLaunchOutOfResources;
  if (stream.capture != nullptr && !function.loaded.contains(stream.device)) {
    // CUDA loads a kernel when it is first launched, which may have to wait for the device.
    std::fprintf(stderr, "standin: %s: its first launch is in a capture: load it before\n", kernel.demangled.c_str());
    return invalidate(*stream.capture, cudaErrorStreamCaptureUnsupported);
  }
  function.loaded.insert(stream.device);
  auto run = [this, &kernel, grid, threads, dynamic, held = std::make_shared<Arguments>(kernel.parameters, arguments)] {
    std::vector<void*> pointers;
    for (size_t i = 0; i < kernel.parameters.size(); ++i) {
      pointers.push_back(held->at(i));
      if (!kernel.parameters[i].pointer) continue;
      const void* value = held->pointer(i);
      if (value == nullptr || nodes.memory.owns(value)) continue;
      abort_with("kernel " + kernel.demangled + ": parameter " + std::to_string(i + 1) +
                 " points to memory that a device cannot reach");
    }
    Lock lock(mutex());
    const uint64_t seed = nodes.draw();
    lock.unlock();
    run_kernel({.name = kernel.demangled,
                .grid = grid,
                .threads = threads,
                .call = kernel.call,
                .arguments = pointers.data(),
                .before_block = [&] { poison_shared(kernel, dynamic); },
                .after_block = [&] { check_shared(kernel, dynamic); },
                .seed = seed});
  };
  return enqueue(stream, {.what = "kernel " + kernel.demangled, .run = std::move(run)});
}

cudaError_t Runtime::copy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, CUstream_st& stream,
                          Lock& lock) {
  if (bytes == 0) return cudaSuccess;
  const auto side = [&](const void* address) {
    if (!nodes.memory.owns(address)) return address == nullptr ? Side::unknown : Side::pageable;
    if (!in_one(address, bytes)) return Side::unknown;
    return nodes.memory.find(address)->device < 0 ? Side::locked : Side::device;
  };
  const Side to = side(dst), from = side(src);
  if (to == Side::unknown || from == Side::unknown) return cudaErrorInvalidValue;
  const bool to_device = to == Side::device, from_device = from == Side::device;
  const cudaMemcpyKind real = to_device     ? (from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                              : from_device ? cudaMemcpyDeviceToHost
                                            : cudaMemcpyHostToHost;
  if (kind != cudaMemcpyDefault && kind != real) return cudaErrorInvalidValue;
  for (const void* address : {static_cast<const void*>(dst), src}) {
    const Allocation* allocation = nodes.memory.find(address);
    if (allocation != nullptr && allocation->device >= 0 && allocation->device != stream.device) {
      abort_with("the stand-in copies between no two devices, and in no stream of another device");
    }
  }
  const auto* first = static_cast<const std::byte*>(src);
  if (first < static_cast<std::byte*>(dst) + bytes && static_cast<std::byte*>(dst) < first + bytes) {
    abort_with("a copy of " + std::to_string(bytes) + " bytes onto itself");
  }
  const bool pageable = to == Side::pageable || from == Side::pageable;
  if (pageable && stream.capture != nullptr) {
    // Each launch of the graph would read or write what lies there then.
    return invalidate(*stream.capture, cudaErrorStreamCaptureUnsupported);
  }
  std::vector<std::byte> staged;
  if (from == Side::pageable) staged.assign(first, first + bytes);
  const std::string what = "copy of " + std::to_string(bytes) + " bytes";
  const bool staging = !staged.empty();
  auto run = [=, held = std::move(staged)] {
    if (!staging) check_range(src, bytes, what + ", its source");
    if (to != Side::pageable) check_range(dst, bytes, what + ", its destination");
    std::memcpy(dst, staging ? held.data() : src, bytes);
  };
  const cudaError_t error = enqueue(stream, {.what = what, .run = std::move(run)});
  if (error == cudaSuccess && to == Side::pageable) nodes.wait_for(lock, stream.tail);
  return error;
}

cudaError_t Runtime::set(void* dst, int value, size_t bytes, CUstream_st& stream) {
  if (bytes == 0) return cudaSuccess;
  if (!in_one(dst, bytes)) return cudaErrorInvalidValue;
  const int device = nodes.memory.find(dst)->device;
  if (device >= 0 && device != stream.device) return cudaErrorInvalidValue;
  auto run = [=] {
    check_range(dst, bytes, "memset");
    std::memset(dst, value, bytes);
  };
  return enqueue(stream, {.what = "memset of " + std::to_string(bytes) + " bytes", .run = std::move(run)});
}

// ---- Functions ------------------------------------------------------------------------------------------------------

namespace {

struct Functions {
  std::mutex mutex;
  std::map<const void*, std::unique_ptr<Function>> by_host;
  std::map<void**, std::vector<const void*>> of_object;
  std::vector<std::unique_ptr<Function>> gone;  // a plug-in may hold their addresses
};

Functions& functions() {
  static auto* it = new Functions;
  return *it;
}

}  // namespace

void register_function(void** object, const void* host, const char* name) {
  Functions& all = functions();
  const std::lock_guard held(all.mutex);
  all.by_host[host] = std::make_unique<Function>(Function{host, name});
  all.of_object[object].push_back(host);
}

void unregister_object(void** object) {
  Functions& all = functions();
  const std::lock_guard held(all.mutex);
  for (const void* host : all.of_object[object]) {
    all.gone.push_back(std::move(all.by_host[host]));
    all.by_host.erase(host);
  }
  all.of_object.erase(object);
}

Function* find_function(const void* handle) {
  Functions& all = functions();
  const std::lock_guard held(all.mutex);
  if (const auto found = all.by_host.find(handle); found != all.by_host.end()) return found->second.get();
  for (const auto& [host, function] : all.by_host)
    if (function.get() == handle) return function.get();
  return nullptr;
}

const Kernel& kernel_of(const Function& function) {
  const Kernel* kernel = find_kernel(function.name);
  if (kernel == nullptr) {
    abort_with("kernel " + demangle(function.name) +
               " runs on no host: it wants a line REGISTER_KERNEL(...) in tests/standin/kernels.cc");
  }
  return *kernel;
}

// ---- standin.h ------------------------------------------------------------------------------------------------------

cudaError_t enqueue(cudaStream_t stream, const std::string& what, std::function<void()> work) {
  Runtime* r = runtime();
  if (r == nullptr) return cudaErrorNoDevice;
  const Lock lock(r->mutex());
  CUstream_st* known = r->stream(stream);
  if (known == nullptr) return cudaErrorInvalidResourceHandle;
  return r->enqueue(*known, {.what = what, .run = std::move(work)});
}

cudaError_t enqueue_poll(cudaStream_t stream, const std::string& what, std::function<Poll()> begin) {
  Runtime* r = runtime();
  if (r == nullptr) return cudaErrorNoDevice;
  const Lock lock(r->mutex());
  CUstream_st* known = r->stream(stream);
  if (known == nullptr) return cudaErrorInvalidResourceHandle;
  return r->enqueue(*known, {.what = what, .begin = std::move(begin)});
}

bool is_capturing(cudaStream_t stream) {
  Runtime* r = runtime();
  if (r == nullptr) return false;
  const Lock lock(r->mutex());
  const CUstream_st* known = r->stream(stream);
  return known != nullptr && known->capture != nullptr;
}

int device_of(cudaStream_t stream) {
  Runtime* r = runtime();
  if (r == nullptr) return -1;
  const Lock lock(r->mutex());
  const CUstream_st* known = r->stream(stream);
  return known == nullptr ? -1 : known->device;
}

std::size_t bytes_from(const void* address, int* device) {
  Runtime* r = runtime();
  if (r == nullptr) return 0;
  const Lock lock(r->mutex());
  const Allocation* found = r->nodes.memory.find(address);
  if (found == nullptr) return 0;
  if (device != nullptr) *device = found->device;
  return static_cast<std::size_t>(found->begin + found->bytes - static_cast<const std::byte*>(address));
}

void abort_with(const std::string& message) {
  std::fprintf(stderr, "standin: %s\n", message.c_str());
  std::abort();
}

void check_range(const void* address, std::size_t bytes, const std::string& who) {
  Runtime* r = runtime();
  const Lock lock(r->mutex());
  if (bytes == 0 || r->in_one(address, bytes)) return;
  abort_with(who + ": " + std::to_string(bytes) + " bytes from " + r->nodes.memory.describe(address));
}

bool refused_by_capture() {
  Runtime* r = runtime();
  if (r == nullptr) return false;
  const Lock lock(r->mutex());
  return r->refused_by_capture();
}

void run_in_background() {
  Runtime* r = runtime();
  if (r == nullptr) return;
  const Lock lock(r->mutex());
  r->nodes.run_in_background();
}

void set_seed(unsigned long long seed) {
  Runtime* r = runtime();
  if (r == nullptr) return;
  const Lock lock(r->mutex());
  r->nodes.set_seed(seed);
}

}  // namespace packhorse::standin

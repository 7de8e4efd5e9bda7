// libcudart.so.13 as a plug-in sees it: CUDA's own functions, on the state of runtime.h. A plug-in that needs one that
// is not here cannot be loaded: it is added when somebody needs it.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "standin/fibres.h"
#include "standin/runtime.h"
#include "standin/standin.h"

namespace {

using packhorse::standin::abort_with;
using packhorse::standin::Allocation;
using packhorse::standin::capture_mode;
using packhorse::standin::current_device;
using packhorse::standin::find_function;
using packhorse::standin::Function;
using packhorse::standin::Kernel;
using packhorse::standin::kernel_of;
using packhorse::standin::kSharedDefault;
using packhorse::standin::kSharedLimit;
using packhorse::standin::Lock;
using packhorse::standin::NodePtr;
using packhorse::standin::Runtime;
using packhorse::standin::settings;

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

/// Every call that needs a device: not from a function that a stream runs on the host, and with the lock held.
template <typename Body>
cudaError_t call(Body&& body) {
  if (!settings().driver) return note(cudaErrorInsufficientDriver);
  Runtime* runtime = packhorse::standin::runtime();
  if (runtime == nullptr) return note(cudaErrorNoDevice);
  if (packhorse::standin::running_node() != nullptr) return note(cudaErrorNotPermitted);
  Lock lock(runtime->mutex());
  return note(body(*runtime, lock));
}

/// One that may not be made while somebody captures.
template <typename Body>
cudaError_t unsafe_call(Body&& body) {
  return call([&](Runtime& runtime, Lock& lock) {
    return runtime.refused_by_capture() ? cudaErrorStreamCaptureUnsupported : body(runtime, lock);
  });
}

/// One on a stream.
template <typename Body>
cudaError_t stream_call(cudaStream_t handle, Body&& body) {
  return call([&](Runtime& runtime, Lock& lock) {
    CUstream_st* stream = runtime.stream(handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : body(runtime, lock, *stream);
  });
}

bool ended(const std::vector<NodePtr>& nodes) {
  return std::ranges::all_of(nodes, [](const NodePtr& node) { return node->done; });
}

/// Of an event that the host looks at.
cudaError_t event_state(const Runtime& runtime, cudaEvent_t handle, NodePtr* node) {
  const CUevent_st* event = runtime.event(handle);
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (event->capture != nullptr) {
    event->capture->valid = false;
    return cudaErrorCapturedEvent;
  }
  *node = event->node;
  return cudaSuccess;
}

struct Limits {
  static constexpr int kProcessors = 132, kThreads = 2048, kBlocks = 32, kRegisters = 65536;
  static constexpr int kShared = 228 << 10, kReserved = 1 << 10,
                       kCache = 1 << 20;  // small: who wants more than it holds needs little
};

int threads_by_registers(const Kernel& kernel) {
  if (kernel.registers == 0) return static_cast<int>(packhorse::standin::kMaxThreads);
  const unsigned a_warp = (kernel.registers * packhorse::standin::kWarp + 255) / 256 * 256;
  const unsigned warps = Limits::kRegisters / a_warp;
  return static_cast<int>(std::min(warps * packhorse::standin::kWarp, packhorse::standin::kMaxThreads));
}

struct NamedError {
  cudaError_t error;
  const char *name, *text;
};
constexpr NamedError kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

struct Configuration {
  dim3 grid, threads;
  size_t dynamic;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t launch(const void* handle, dim3 grid, dim3 threads, void** arguments, size_t dynamic, cudaStream_t stream) {
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    Function* function = find_function(handle);
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    return runtime.launch_kernel(*function, grid, threads, arguments, dynamic, known);
  });
}

/// A call on a kernel, which loads it.
template <typename Body>
cudaError_t function_call(const void* handle, Body&& body) {
  return call([&](Runtime& /*runtime*/, Lock& /*lock*/) {
    Function* function = find_function(handle);
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    function->loaded.insert(current_device());
    return body(*function, kernel_of(*function));
  });
}

cudaError_t make_stream(cudaStream_t* stream, bool blocking, int priority) {
  if (stream == nullptr) return note(cudaErrorInvalidValue);
  return call([&](Runtime& runtime, Lock& /*lock*/) {
    *stream = runtime.make_stream(current_device(), blocking, priority);
    return cudaSuccess;
  });
}

cudaError_t allocate_host(void** address, size_t bytes) {
  if (address == nullptr) return note(cudaErrorInvalidValue);
  return unsafe_call([&](Runtime& runtime, Lock& /*lock*/) {
    *address = bytes == 0 ? nullptr : runtime.nodes.memory.allocate_host(bytes);
    return cudaSuccess;
  });
}

cudaError_t free_memory(void* address, bool of_device) {
  if (address == nullptr) return cudaSuccess;
  return unsafe_call([&](Runtime& runtime, Lock& /*lock*/) {
    bool freed = false;
    if (runtime.nodes.memory.free(address, of_device, &freed)) return cudaSuccess;
    if (freed) std::fprintf(stderr, "standin: memory at %p is freed twice\n", address);
    return cudaErrorInvalidValue;
  });
}

}  // namespace

extern "C" {

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's

// ---- What nvcc's code calls -----------------------------------------------------------------------------------------

void** __cudaRegisterFatBinary(void* /*fat_binary*/) { return new void*(nullptr); }
void __cudaRegisterFatBinaryEnd(void** /*object*/) {}
void __cudaUnregisterFatBinary(void** object) {
  packhorse::standin::unregister_object(object);
  delete object;
}
void __cudaRegisterFunction(void** object, const char* host, char* /*device*/, const char* name, int /*thread_limit*/,
                            uint3* /*tid*/, uint3* /*bid*/, dim3* /*bDim*/, dim3* /*gDim*/, int* /*wSize*/) {
  packhorse::standin::register_function(object, host, name);
}
// A kernel compiled by g++ has the variable itself, with its first value.
void __cudaRegisterVar(void** /*object*/, char* /*host*/, char* /*device*/, const char* /*name*/, int /*ext*/,
                       size_t /*size*/, int /*constant*/, int /*global*/) {}
char __cudaInitModule(void** /*object*/) { return 1; }

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 threads, size_t dynamic, CUstream_st* stream) {
  configurations.push_back({grid, threads, dynamic, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* threads, size_t* dynamic, void* stream) {
  if (configurations.empty()) return note(cudaErrorInvalidConfiguration);
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid;
  *threads = last.threads;
  *dynamic = last.dynamic;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  Function* function = find_function(host);
  if (function == nullptr) return note(cudaErrorInvalidDeviceFunction);
  *kernel = reinterpret_cast<cudaKernel_t>(function);
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 threads, void** arguments, size_t dynamic,
                               cudaStream_t stream) {
  return launch(kernel, grid, threads, arguments, dynamic, stream);
}

// NOLINTEND(bugprone-reserved-identifier)

// ---- Kernels --------------------------------------------------------------------------------------------------------

cudaError_t cudaLaunchKernel(const void* host, dim3 grid, dim3 threads, void** arguments, size_t dynamic,
                             cudaStream_t stream) {
  return launch(host, grid, threads, arguments, dynamic, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* host, void** arguments) {
  if (config->numAttrs != 0) abort_with("cudaLaunchKernelExC: the stand-in knows no attributes");
  return launch(host, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream);
}
cudaError_t cudaFuncSetAttribute(const void* host, cudaFuncAttribute attribute, int value) {
  return function_call(host, [&](Function& function, const Kernel& kernel) {
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaErrorInvalidValue;
    if (value < 0 || static_cast<size_t>(value) + kernel.shared_bytes > kSharedLimit) return cudaErrorInvalidValue;
    function.dynamic_limit = static_cast<size_t>(value);
    return cudaSuccess;
  });
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* host) {
  return function_call(host, [&](const Function& function, const Kernel& kernel) {
    constexpr int kVersion = 90;
    *attributes = {};
    attributes->sharedSizeBytes = kernel.shared_bytes;
    attributes->maxThreadsPerBlock = threads_by_registers(kernel);
    attributes->numRegs = static_cast<int>(kernel.registers);
    attributes->ptxVersion = attributes->binaryVersion = kVersion;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(
        std::max(function.dynamic_limit, kSharedDefault - std::min(kSharedDefault, kernel.shared_bytes)));
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* host, int threads,
                                                                   size_t dynamic, unsigned /*flags*/) {
  return function_call(host, [&](const Function& /*function*/, const Kernel& kernel) {
    if (threads <= 0) return cudaErrorInvalidValue;
    constexpr int kWarp = packhorse::standin::kWarp;
    const int warps = (threads + kWarp - 1) / kWarp;
    const auto shared = static_cast<int>(kernel.shared_bytes + dynamic) + Limits::kReserved;
    *blocks = std::min({Limits::kBlocks, Limits::kThreads / (warps * kWarp), Limits::kShared / shared});
    if (kernel.registers != 0) {
      const int a_warp = static_cast<int>((kernel.registers * kWarp + 255) / 256 * 256);
      *blocks = std::min(*blocks, Limits::kRegisters / (a_warp * warps));
    }
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* host, int threads, size_t dynamic) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, host, threads, dynamic, 0);
}

// ---- Devices --------------------------------------------------------------------------------------------------------

cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().driver ? CUDART_VERSION : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(settings().devices.size());
  return call([](Runtime& /*runtime*/, Lock& /*lock*/) { return cudaSuccess; });
}
cudaError_t cudaGetDevice(int* device) {
  return call([&](Runtime& /*runtime*/, Lock& /*lock*/) {
    *device = current_device();
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    if (device < 0 || device >= runtime.devices) return cudaErrorInvalidDevice;
    current_device() = device;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* of, int device) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    if (device < 0 || device >= runtime.devices) return cudaErrorInvalidDevice;
    *of = {};
    std::snprintf(of->name, sizeof of->name, "stand-in for NVIDIA H200");
    const int physical = settings().devices[static_cast<size_t>(device)];
    of->uuid.bytes[0] = static_cast<char>(physical + 1);
    of->totalGlobalMem = runtime.nodes.memory.capacity();
    of->sharedMemPerBlock = kSharedDefault;
    of->sharedMemPerBlockOptin = kSharedLimit;
    of->sharedMemPerMultiprocessor = Limits::kShared;
    of->reservedSharedMemPerBlock = Limits::kReserved;
    of->regsPerBlock = of->regsPerMultiprocessor = Limits::kRegisters;
    of->warpSize = packhorse::standin::kWarp;
    of->memPitch = 0x7fffffff;
    of->maxThreadsPerBlock = of->maxThreadsDim[0] = of->maxThreadsDim[1] = packhorse::standin::kMaxThreads;
    of->maxThreadsDim[2] = 64;
    of->maxGridSize[0] = 0x7fffffff;
    of->maxGridSize[1] = of->maxGridSize[2] = 65535;
    of->totalConstMem = 64 << 10;
    of->major = 9;
    of->minor = 0;
    of->textureAlignment = 512;
    of->multiProcessorCount = Limits::kProcessors;
    of->maxThreadsPerMultiProcessor = Limits::kThreads;
    of->maxBlocksPerMultiProcessor = Limits::kBlocks;
    of->canMapHostMemory = of->concurrentKernels = of->unifiedAddressing = of->streamPrioritiesSupported = 1;
    of->ECCEnabled = of->cooperativeLaunch = of->clusterLaunch = of->hostRegisterSupported = 1;
    of->globalL1CacheSupported = of->localL1CacheSupported = 1;
    of->canUseHostPointerForRegisteredMem = 1;
    of->asyncEngineCount = 3;
    of->memoryBusWidth = 6144;
    of->l2CacheSize = Limits::kCache;
    of->pciBusID = 0x10 + physical;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp all{};
  const cudaError_t error = cudaGetDeviceProperties(&all, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = all.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxBlockDimX:
      *value = all.maxThreadsDim[0];
      break;
    case cudaDevAttrMaxBlockDimY:
      *value = all.maxThreadsDim[1];
      break;
    case cudaDevAttrMaxBlockDimZ:
      *value = all.maxThreadsDim[2];
      break;
    case cudaDevAttrMaxGridDimX:
      *value = all.maxGridSize[0];
      break;
    case cudaDevAttrMaxGridDimY:
      *value = all.maxGridSize[1];
      break;
    case cudaDevAttrMaxGridDimZ:
      *value = all.maxGridSize[2];
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(all.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(all.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(all.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = static_cast<int>(all.reservedSharedMemPerBlock);
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *value = all.regsPerBlock;
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = all.regsPerMultiprocessor;
      break;
    case cudaDevAttrTotalConstantMemory:
      *value = static_cast<int>(all.totalConstMem);
      break;
    case cudaDevAttrWarpSize:
      *value = all.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = all.multiProcessorCount;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = all.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = all.maxBlocksPerMultiProcessor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = all.l2CacheSize;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = all.memoryBusWidth;
      break;
    case cudaDevAttrClockRate:
      *value = 1980000;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 3201000;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = all.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = all.minor;
      break;
    case cudaDevAttrConcurrentKernels:
      *value = all.concurrentKernels;
      break;
    case cudaDevAttrEccEnabled:
      *value = all.ECCEnabled;
      break;
    case cudaDevAttrAsyncEngineCount:
      *value = all.asyncEngineCount;
      break;
    case cudaDevAttrUnifiedAddressing:
      *value = all.unifiedAddressing;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = all.cooperativeLaunch;
      break;
    case cudaDevAttrHostRegisterSupported:
      *value = all.hostRegisterSupported;
      break;
    case cudaDevAttrPciBusId:
      *value = all.pciBusID;
      break;
    case cudaDevAttrPciDeviceId:
    case cudaDevAttrPciDomainId:
    case cudaDevAttrIntegrated:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrGPUDirectRDMASupported:
      *value = 0;
      break;
    default:
      abort_with("cudaDeviceGetAttribute: attribute " + std::to_string(attribute) + " is not in the stand-in");
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  cudaDeviceProp all{};
  const cudaError_t error = cudaGetDeviceProperties(&all, device);
  if (error != cudaSuccess) return error;
  const int length =
      std::snprintf(text, static_cast<size_t>(bytes), "0000:%02x:00.0", static_cast<unsigned>(all.pciBusID));
  return length < bytes ? cudaSuccess : note(cudaErrorInvalidValue);
}
cudaError_t cudaDeviceSynchronize() {
  return unsafe_call([](Runtime& runtime, Lock& lock) {
    if (runtime.capturing_on(current_device())) return cudaErrorStreamCaptureUnsupported;
    runtime.nodes.wait_for_device(lock, current_device());
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  constexpr int kGreatest = -5;
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = kGreatest;
  return call([](Runtime& /*runtime*/, Lock& /*lock*/) { return cudaSuccess; });
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    *total = runtime.nodes.memory.capacity();
    *free = *total - runtime.nodes.memory.used(current_device());
    return cudaSuccess;
  });
}
cudaError_t cudaMalloc(void** address, size_t bytes) {
  if (address == nullptr) return note(cudaErrorInvalidValue);
  return unsafe_call([&](Runtime& runtime, Lock& /*lock*/) {
    *address = bytes == 0 ? nullptr : runtime.nodes.memory.allocate(current_device(), bytes);
    return *address == nullptr && bytes != 0 ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}
cudaError_t cudaFree(void* address) { return free_memory(address, true); }
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned /*flags*/) { return allocate_host(address, bytes); }
cudaError_t cudaMallocHost(void** address, size_t bytes) { return allocate_host(address, bytes); }
cudaError_t cudaFreeHost(void* address) { return free_memory(address, false); }
cudaError_t cudaHostGetDevicePointer(void** address, void* host, unsigned /*flags*/) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    *address = host;
    return runtime.in_one(host, 1) ? cudaSuccess : cudaErrorInvalidValue;
  });
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    *attributes = {};
    auto* pointer = const_cast<void*>(address);
    const Allocation* allocation = runtime.nodes.memory.find(address);
    if (allocation == nullptr) {
      attributes->type = cudaMemoryTypeUnregistered;
      attributes->device = -2;  // as the header says: of no device
      attributes->hostPointer = pointer;
      return cudaSuccess;
    }
    const bool host = allocation->device < 0;
    attributes->type = host ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    attributes->device = host ? current_device() : allocation->device;
    attributes->devicePointer = pointer;
    attributes->hostPointer = host ? pointer : nullptr;
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return stream_call(stream, [&](Runtime& runtime, Lock& lock, CUstream_st& known) {
    return runtime.copy(dst, src, bytes, kind, known, lock);
  });
}
cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  return unsafe_call([&](Runtime& runtime, Lock& lock) {
    CUstream_st& legacy = *runtime.stream(nullptr);
    const cudaError_t error = runtime.copy(dst, src, bytes, kind, legacy, lock);
    if (error == cudaSuccess) runtime.nodes.wait_for(lock, legacy.tail);
    return error;
  });
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream) {
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    return runtime.set(dst, value, bytes, known);
  });
}
cudaError_t cudaMemset(void* dst, int value, size_t bytes) {
  return unsafe_call(
      [&](Runtime& runtime, Lock& /*lock*/) { return runtime.set(dst, value, bytes, *runtime.stream(nullptr)); });
}

// ---- Streams --------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return make_stream(stream, true, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return make_stream(stream, (flags & cudaStreamNonBlocking) == 0, 0);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return make_stream(stream, (flags & cudaStreamNonBlocking) == 0, std::clamp(priority, -5, 0));
}
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return stream_call(stream, [&](Runtime& /*runtime*/, Lock& /*lock*/, const CUstream_st& known) {
    *priority = known.priority;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return stream_call(stream, [&](Runtime& /*runtime*/, Lock& /*lock*/, const CUstream_st& known) {
    *device = known.device;
    return cudaSuccess;
  });
}
// What is in it still runs.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return stream_call(stream, [&](const Runtime& /*runtime*/, Lock& /*lock*/, CUstream_st& known) {
    if (stream == nullptr || stream == cudaStreamLegacy) return cudaErrorInvalidResourceHandle;
    known.destroyed = true;
    if (known.capture == nullptr) return cudaSuccess;
    return Runtime::invalidate(*known.capture, cudaErrorStreamCaptureUnsupported);
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return stream_call(stream, [](Runtime& runtime, Lock& lock, CUstream_st& known) {
    if (known.capture != nullptr) return Runtime::invalidate(*known.capture, cudaErrorStreamCaptureUnsupported);
    if (runtime.refused_by_capture()) return cudaErrorStreamCaptureUnsupported;
    runtime.nodes.wait_for(lock, runtime.before(known));
    return cudaSuccess;
  });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return stream_call(stream, [](Runtime& runtime, Lock& lock, CUstream_st& known) {
    if (known.capture != nullptr) return Runtime::invalidate(*known.capture, cudaErrorStreamCaptureUnsupported);
    if (runtime.refused_by_capture()) return cudaErrorStreamCaptureUnsupported;
    const std::vector<NodePtr> all = runtime.before(known);
    if (!ended(all)) runtime.nodes.advance(lock);
    return ended(all) ? cudaSuccess : cudaErrorNotReady;
  });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  if (flags != cudaEventWaitDefault) abort_with("the stand-in knows no flags of cudaStreamWaitEvent");
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    CUevent_st* other = runtime.event(event);
    return other == nullptr ? cudaErrorInvalidResourceHandle : runtime.wait(known, *other);
  });
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    return runtime.enqueue(known, {.what = "function on the host", .run = [=] { function(data); }, .on_host = true});
  });
}

// ---- Events ---------------------------------------------------------------------------------------------------------

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (event == nullptr) return note(cudaErrorInvalidValue);
  return call([&](Runtime& runtime, Lock& /*lock*/) {
    *event = runtime.make_event(current_device(), (flags & cudaEventDisableTiming) == 0);
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    CUevent_st* known = runtime.event(event);
    if (known == nullptr) return cudaErrorInvalidResourceHandle;
    known->destroyed = true;
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    CUevent_st* one = runtime.event(event);
    return one == nullptr ? cudaErrorInvalidResourceHandle : runtime.record(*one, known);
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return unsafe_call([&](Runtime& runtime, Lock& lock) {
    NodePtr node;
    const cudaError_t error = event_state(runtime, event, &node);
    if (error != cudaSuccess || node == nullptr) return error;
    if (!node->done) runtime.nodes.advance(lock);
    return node->done ? cudaSuccess : cudaErrorNotReady;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return unsafe_call([&](Runtime& runtime, Lock& lock) {
    NodePtr node;
    const cudaError_t error = event_state(runtime, event, &node);
    if (error == cudaSuccess && node != nullptr) runtime.nodes.wait_for(lock, {node});
    return error;
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return unsafe_call([&](const Runtime& runtime, Lock& /*lock*/) {
    NodePtr first, last;
    for (auto [event, node] : {std::pair{begin, &first}, {end, &last}}) {
      const cudaError_t error = event_state(runtime, event, node);
      if (error != cudaSuccess) return error;
      if (*node == nullptr || !event->timing) return cudaErrorInvalidResourceHandle;
    }
    if (!first->done || !last->done) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(last->ended - first->ended).count();
    return cudaSuccess;
  });
}

// ---- Captures and graphs --------------------------------------------------------------------------------------------

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode());
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return stream_call(
      stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) { return runtime.begin_capture(known, mode); });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return stream_call(
      stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) { return runtime.end_capture(known, graph); });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return stream_call(stream, [&](Runtime& /*runtime*/, Lock& /*lock*/, const CUstream_st& known) {
    *status = known.capture == nullptr ? cudaStreamCaptureStatusNone
              : known.capture->valid   ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* number,
                                     cudaGraph_t* graph, const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges,
                                     size_t* count) {
  if (graph != nullptr || nodes != nullptr || edges != nullptr || count != nullptr) {
    abort_with("cudaStreamGetCaptureInfo: the stand-in knows the status and the number only");
  }
  return stream_call(stream, [&](Runtime& /*runtime*/, Lock& /*lock*/, const CUstream_st& known) {
    *status = known.capture == nullptr ? cudaStreamCaptureStatusNone
              : known.capture->valid   ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusInvalidated;
    if (number != nullptr) *number = known.capture == nullptr ? 0 : known.capture->number;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    CUgraph_st* known = runtime.graph(graph);
    if (known == nullptr || count == nullptr) return cudaErrorInvalidValue;
    if (nodes != nullptr) {
      for (size_t i = 0; i < *count; ++i) nodes[i] = i < known->handles.size() ? &known->handles[i] : nullptr;
    }
    *count = nodes == nullptr ? known->handles.size() : std::min(*count, known->handles.size());
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  if (flags != 0) abort_with("the stand-in knows no flags of cudaGraphInstantiate");
  return call([&](Runtime& runtime, Lock& /*lock*/) {
    const CUgraph_st* known = runtime.graph(graph);
    return known == nullptr || exec == nullptr ? cudaErrorInvalidValue : runtime.instantiate(*known, exec);
  });
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(exec, graph, flags);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return stream_call(stream, [&](const Runtime& runtime, Lock& /*lock*/, const CUstream_st& /*known*/) {
    return runtime.exec(exec) == nullptr ? cudaErrorInvalidValue : cudaSuccess;
  });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return stream_call(stream, [&](Runtime& runtime, Lock& /*lock*/, CUstream_st& known) {
    CUgraphExec_st* graph = runtime.exec(exec);
    return graph == nullptr ? cudaErrorInvalidValue : runtime.launch(*graph, known);
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    CUgraph_st* known = runtime.graph(graph);
    if (known == nullptr) return cudaErrorInvalidValue;
    known->destroyed = true;
    known->nodes.clear();
    return cudaSuccess;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return call([&](const Runtime& runtime, Lock& /*lock*/) {
    CUgraphExec_st* known = runtime.exec(exec);
    if (known == nullptr) return cudaErrorInvalidValue;
    known->destroyed = true;
    known->nodes.clear();
    return cudaSuccess;
  });
}

// ---- Errors ---------------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t error) {
  for (const NamedError& one : kErrors)
    if (one.error == error) return one.name;
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  for (const NamedError& one : kErrors)
    if (one.error == error) return one.text;
  return "unrecognized error code";
}

}  // extern "C"

#include "device/cuda/cuda_device.h"

#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/text.h"

namespace packhorse::cuda {

namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  throw Error({fmt::format("CUDA reports {}: {}", cudaGetErrorName(result), cudaGetErrorString(result)), call,
               "see the log of the driver (dmesg); --backend cpu computes without a GPU"});
}

std::string missing() {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "no NVIDIA driver is loaded (libcuda.so.1)";
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaErrorInsufficientDriver)
    return fmt::format("the NVIDIA driver is for CUDA {}, this build needs {}", version_text(driver),
                       version_text(runtime));
  if (result == cudaErrorNoDevice || (result == cudaSuccess && count == 0))
    return "the driver shows no GPU to this process (CUDA_VISIBLE_DEVICES?)";
  return result == cudaSuccess ? "" : fmt::format("{}: {}", cudaGetErrorName(result), cudaGetErrorString(result));
}

int device_count() {
  int count = 0;
  return missing().empty() && cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

namespace {

class CudaEvent : public Event {
 public:
  explicit CudaEvent(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreateWithFlags"); }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  bool done() const override {
    const cudaError_t result = cudaEventQuery(event_);
    if (result == cudaErrorNotReady) return false;
    check(result, "cudaEventQuery");
    return true;
  }
  void synchronize() const override { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream : public Stream {
 public:
  CudaStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~CudaStream() override { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void enqueue(Work work, double* seconds) override {
    if (seconds == nullptr) return work();
    measure(work, seconds);
  }
  void write(DeviceAddress to, std::span<const std::byte> from) override {
    check(cudaMemcpyAsync(to.as<void>(), from.data(), from.size(), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  }
  void read(std::span<std::byte> to, DeviceAddress from) override {
    check(cudaMemcpyAsync(to.data(), from.as<void>(), to.size(), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  }
  void record(Event& event) override {
    check(cudaEventRecord(static_cast<CudaEvent&>(event).get(), stream_), "cudaEventRecord");
  }
  void wait(const Event& event, double* seconds) override {
    const Work work = [&] {
      check(cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).get(), 0), "cudaStreamWaitEvent");
    };
    seconds == nullptr ? work() : measure(work, seconds);
  }
  void synchronize() override {
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    for (const Measured& one : measured_) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, one.begin->get(), one.end->get()), "cudaEventElapsedTime");
      *one.seconds += milliseconds / 1000.0;
    }
    measured_.clear();
  }
  cudaStream_t get() const { return stream_; }

 private:
  struct Measured {
    std::unique_ptr<CudaEvent> begin, end;
    double* seconds = nullptr;
  };
  // A graph that is replayed has no time of its own for each node.
  void measure(const Work& work, double* seconds) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &status), "cudaStreamIsCapturing");
    if (status != cudaStreamCaptureStatusNone) return work();
    Measured one{std::make_unique<CudaEvent>(cudaEventDefault), std::make_unique<CudaEvent>(cudaEventDefault), seconds};
    record(*one.begin);
    work();
    record(*one.end);
    measured_.push_back(std::move(one));
  }

  cudaStream_t stream_ = nullptr;
  std::vector<Measured> measured_;
};

/// What is enqueued again and again, as a graph.
class Repeated {
 public:
  Repeated() = default;
  ~Repeated() {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

  // The first time everything runs as it is: kernels are loaded then, which a capture does not allow.
  void run(cudaStream_t stream, const std::function<void()>& enqueue) {
    if (!warm_) {
      enqueue();
      warm_ = true;
      return;
    }
    if (graph_ == nullptr) capture(stream, enqueue);
    check(cudaGraphLaunch(graph_, stream), "cudaGraphLaunch");
  }

 private:
  void capture(cudaStream_t stream, const std::function<void()>& enqueue) {
    cudaGraph_t graph = nullptr;
    // Of this thread: others may allocate meanwhile.
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    try {
      enqueue();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    const cudaError_t made = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    check(made, "cudaGraphInstantiate");
  }

  bool warm_ = false;
  cudaGraphExec_t graph_ = nullptr;
};

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int number) : number_(number) {
    use();
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, number), "cudaGetDeviceProperties");
    name_ = properties.name;
    memory_bytes_ = properties.totalGlobalMem;
    limits_ = {properties.multiProcessorCount, properties.sharedMemPerBlockOptin,
               static_cast<size_t>(properties.l2CacheSize)};
  }

  std::string kind() const override { return "cuda"; }
  std::string name() const override { return fmt::format("GPU {} ({})", number_, name_); }
  uint64_t memory_bytes() const override { return memory_bytes_; }
  std::unique_ptr<Stream> make_stream(bool /*beside*/) override {
    use();
    return std::make_unique<CudaStream>();
  }
  std::unique_ptr<Event> make_event() override {
    use();
    return std::make_unique<CudaEvent>(cudaEventDisableTiming);
  }
  void repeat(Stream& main, const void* key, const std::function<void()>& enqueue) override {
    repeated_[key].run(stream_of(main), enqueue);
  }
  void forget(const void* key) noexcept override { repeated_.erase(key); }

  DeviceAddress allocate(size_t bytes) override {
    use();
    void* at = nullptr;
    if (cudaMalloc(&at, bytes) != cudaSuccess) {
      cudaGetLastError();  // it is told here, and not by the next launch
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw Error({fmt::format("out of memory: needs {}, {} of {} are free", bytes_text(static_cast<double>(bytes)),
                               bytes_text(static_cast<double>(free)), bytes_text(static_cast<double>(total))),
                   name(), "use a smaller batch, f16, or --recompute"});
    }
    check(cudaMemset(at, 0, bytes), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return DeviceAddress(reinterpret_cast<uintptr_t>(at));
  }
  void free(DeviceAddress address, size_t /*bytes*/) noexcept override { cudaFree(address.as<void>()); }
  std::byte* allocate_host(size_t bytes) override {
    use();
    void* at = nullptr;
    if (cudaHostAlloc(&at, bytes, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
      cudaGetLastError();
      throw Error(
          {fmt::format("the host has not {} of memory that can be page-locked", bytes_text(static_cast<double>(bytes))),
           name(), "raise the limit (ulimit -l), or use fewer images in flight"});
    }
    std::memset(at, 0, bytes);
    return static_cast<std::byte*>(at);
  }
  void free_host(std::byte* address, size_t /*bytes*/) noexcept override { cudaFreeHost(address); }

  const Limits& limits() const { return limits_; }
  const std::string& model() const { return name_; }

 private:
  // CUDA's current device belongs to the thread.
  void use() const { check(cudaSetDevice(number_), "cudaSetDevice"); }

  int number_;
  std::string name_;
  uint64_t memory_bytes_ = 0;
  Limits limits_;
  std::map<const void*, Repeated> repeated_;
};

}  // namespace

// They are not destroyed: at the process's end CUDA may be gone before them.
Device& device(int number) {
  // A launcher may show each rank only its own.
  if (device_count() == 1) number = 0;
  static std::mutex mutex;
  static auto& devices = *new std::map<int, CudaDevice*>;
  const std::lock_guard lock(mutex);
  if (const std::string reason = missing(); !reason.empty())
    throw Error({"there is no GPU to compute on: " + reason, "backend cuda", "--backend cpu computes without one"});
  if (number < 0 || number >= device_count())
    throw Error({fmt::format("there is no GPU {}: this process sees {}", number, device_count()), "backend cuda",
                 "start one rank for each GPU"});
  CudaDevice*& known = devices[number];
  if (known == nullptr) known = new CudaDevice(number);
  return *known;
}

const std::string& model_of(const Device& device) { return static_cast<const CudaDevice&>(device).model(); }

cudaStream_t stream_of(Stream& stream) { return static_cast<CudaStream&>(stream).get(); }

const Limits& limits_of(Device& device) { return static_cast<CudaDevice&>(device).limits(); }

}  // namespace packhorse::cuda

// For the tests of the stand-in: the plug-in, launches by name, device memory with an owner.
#pragma once

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "standin/standin.h"

#define ASSERT_CUDA(call) ASSERT_EQ(call, cudaSuccess) << cudaGetErrorString(cudaPeekAtLastError())
#define EXPECT_CUDA(call) EXPECT_EQ(call, cudaSuccess) << cudaGetErrorString(cudaPeekAtLastError())

namespace packhorse::standin {

/// Number of orders that are drawn where a test draws some.
inline constexpr unsigned long long kSeeds = 20;

/// A function of the plug-in, which lies beside the test.
template <typename Function>
Function plugin(const char* name) {
  static void* opened = [] {
    const std::string self = std::string(STANDIN_BUILD) + "/libtest_plugin.so";
    void* handle = dlopen(self.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) abort_with(dlerror());
    return handle;
  }();
  return reinterpret_cast<Function>(dlsym(opened, name));
}

inline const void* kernel(const char* name) {
  const void* found = plugin<const void* (*)(const char*)>("test_kernel")(name);
  if (found == nullptr) abort_with(std::string("no test kernel ") + name);
  return found;
}

template <typename... Arguments>
cudaError_t launch_with(const char* name, dim3 grid, dim3 threads, size_t dynamic, cudaStream_t stream,
                        Arguments... arguments) {
  void* pointers[] = {&arguments...};
  return cudaLaunchKernel(kernel(name), grid, threads, pointers, dynamic, stream);
}
template <typename... Arguments>
cudaError_t launch(const char* name, dim3 grid, dim3 threads, cudaStream_t stream, Arguments... arguments) {
  return launch_with(name, grid, threads, 0, stream, arguments...);
}

/// Loads a kernel, so that its first launch may be in a capture.
inline void load(const char* name) {
  cudaFuncAttributes attributes{};
  EXPECT_CUDA(cudaFuncGetAttributes(&attributes, kernel(name)));
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    void* address = nullptr;
    EXPECT_CUDA(cudaMalloc(&address, count * sizeof(T)));
    data_ = static_cast<T*>(address);
  }
  explicit DeviceArray(const std::vector<T>& from) : DeviceArray(from.size()) {
    EXPECT_CUDA(cudaMemcpy(data_, from.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  int count() const { return static_cast<int>(count_); }
  std::vector<T> read() const {
    std::vector<T> all(count_);
    EXPECT_CUDA(cudaMemcpy(all.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return all;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

/// A stream that does not wait for the legacy one.
class TestStream {
 public:
  TestStream() { EXPECT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~TestStream() { cudaStreamDestroy(stream_); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;
  operator cudaStream_t() const { return stream_; }
  cudaError_t synchronize() const { return cudaStreamSynchronize(stream_); }

 private:
  cudaStream_t stream_ = nullptr;
};

class TestEvent {
 public:
  explicit TestEvent(unsigned flags = cudaEventDisableTiming) { EXPECT_CUDA(cudaEventCreateWithFlags(&event_, flags)); }
  ~TestEvent() { cudaEventDestroy(event_); }
  TestEvent(const TestEvent&) = delete;
  TestEvent& operator=(const TestEvent&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace packhorse::standin

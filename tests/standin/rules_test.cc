// What the stand-in refuses, and with which error: a rule, and a call that breaks it.
#include <cmath>
#include <thread>

#include "standin/device_test.h"

namespace packhorse::standin {
namespace {

void* unknown_memory() { return reinterpret_cast<void*>(uintptr_t{0x1000}); }

// ---- Launches -------------------------------------------------------------------------------------------------------

TEST(StandinRules, LaunchesBeyondTheLimits) {
  const DeviceArray<float> x(2048);
  const auto with = [&](dim3 grid, dim3 threads) { return launch("touch", grid, threads, nullptr, x.data(), 0L); };
  EXPECT_EQ(with(1, 1025), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(with(1, dim3(32, 33)), cudaErrorInvalidConfiguration);
  EXPECT_EQ(with(1, dim3(1, 1, 65)), cudaErrorInvalidConfiguration);
  EXPECT_EQ(with(1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(with(0, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(with(dim3(1, 65536), 1), cudaErrorInvalidConfiguration);
  EXPECT_CUDA(with(dim3(70000, 1), 1));
  EXPECT_CUDA(cudaDeviceSynchronize());
  int no_kernel = 0;
  EXPECT_EQ(cudaLaunchKernel(&no_kernel, 1, 1, nullptr, 0, nullptr), cudaErrorInvalidDeviceFunction);
}

TEST(StandinRules, SharedMemoryBeyondTheDefaultIsAskedFor) {
  const DeviceArray<float> x(32);
  const auto with = [&](size_t dynamic) { return launch_with("turn_round", 1, 32, dynamic, nullptr, x.data()); };
  const auto ask = [](int bytes) {
    return cudaFuncSetAttribute(kernel("turn_round"), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  };
  EXPECT_CUDA(with(48 << 10));
  EXPECT_EQ(with((48 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_CUDA(ask(100 << 10));
  EXPECT_CUDA(with(100 << 10));
  EXPECT_EQ(with((100 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_CUDA(ask(227 << 10));
  EXPECT_CUDA(with(227 << 10));
  EXPECT_EQ(ask((227 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_CUDA(ask(0));
  EXPECT_CUDA(cudaDeviceSynchronize());
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

TEST(StandinRules, MemoryIsPoisonedAlignedAndCounted) {
  size_t free_before = 0, total = 0, free_after = 0;
  ASSERT_CUDA(cudaMemGetInfo(&free_before, &total));
  {
    const DeviceArray<float> x(100), y(1);
    for (const float value : x.read()) EXPECT_TRUE(std::isnan(value));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.data()) % 256, 0U);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(y.data()) % 256, 0U);
    ASSERT_CUDA(cudaMemGetInfo(&free_after, &total));
    EXPECT_EQ(free_after, free_before - 404);
  }
  ASSERT_CUDA(cudaMemGetInfo(&free_after, &total));
  EXPECT_EQ(free_after, free_before);
  void* address = nullptr;
  EXPECT_EQ(cudaMalloc(&address, total + 1), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaMalloc(&address, 0));
  EXPECT_EQ(address, nullptr);
  EXPECT_CUDA(cudaFree(nullptr));
}

TEST(StandinRules, MemoryIsFreedOnce) {
  void* address = nullptr;
  ASSERT_CUDA(cudaMalloc(&address, 100));
  EXPECT_EQ(cudaFree(static_cast<char*>(address) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(address), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaFree(address));
  EXPECT_EQ(cudaFree(address), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(unknown_memory()), cudaErrorInvalidValue);
  void* next = nullptr;
  ASSERT_CUDA(cudaMalloc(&next, 100));
  EXPECT_NE(next, address);
  EXPECT_CUDA(cudaFree(next));
  ASSERT_CUDA(cudaMallocHost(&address, 100));
  EXPECT_EQ(cudaFree(address), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaFreeHost(address));
  EXPECT_EQ(cudaFreeHost(address), cudaErrorInvalidValue);
}

TEST(StandinRules, CopiesStayWithinOneAllocation) {
  const DeviceArray<float> x(10), y(10);
  std::vector<float> host(20);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x.data() + 1, 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x.data(), 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x.data(), y.data(), 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.data(), 0, 41), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaMemset(x.data(), 0, 40));
  EXPECT_CUDA(cudaMemcpy(y.data(), x.data(), 40, cudaMemcpyDefault));
  EXPECT_EQ(y.read(), std::vector<float>(10));
}

TEST(StandinRules, WhatPointersAre) {
  const DeviceArray<float> x(10);
  cudaPointerAttributes is{};
  ASSERT_CUDA(cudaPointerGetAttributes(&is, x.data() + 5));
  EXPECT_EQ(is.type, cudaMemoryTypeDevice);
  EXPECT_EQ(is.hostPointer, nullptr);
  void* locked = nullptr;
  ASSERT_CUDA(cudaHostAlloc(&locked, 10, cudaHostAllocDefault));
  ASSERT_CUDA(cudaPointerGetAttributes(&is, locked));
  EXPECT_EQ(is.type, cudaMemoryTypeHost);
  ASSERT_CUDA(cudaPointerGetAttributes(&is, &is));
  EXPECT_EQ(is.type, cudaMemoryTypeUnregistered);
  EXPECT_CUDA(cudaFreeHost(locked));
}

TEST(StandinRulesDeathTest, TheHostCannotTouchDeviceMemory) {
  const DeviceArray<float> x(std::vector<float>(10, 1.0F));
  ASSERT_CUDA(cudaDeviceSynchronize());
  volatile float* pointer = x.data();
  EXPECT_EXIT((void)pointer[3], testing::KilledBySignal(SIGSEGV),
              "standin: the host follows a pointer to a device's memory: .*byte 12 of an allocation of 40 bytes");
  EXPECT_EXIT(pointer[3] = 1, testing::KilledBySignal(SIGSEGV), "the host follows a pointer");
  // Nor on the host's side of a stream.
  const auto in_stream = [&] {
    const cudaHostFn_t write = [](void* data) { static_cast<float*>(data)[0] = 1; };
    (void)cudaLaunchHostFunc(nullptr, write, x.data());
    (void)cudaDeviceSynchronize();
  };
  EXPECT_EXIT(in_stream(), testing::KilledBySignal(SIGSEGV), "function on the host touches memory that is not its own");
}

TEST(StandinRulesDeathTest, WorkOnFreedMemory) {
  const TestStream stream;
  const auto run = [&](bool copy) {
    void* address = nullptr;
    (void)cudaMalloc(&address, 40);
    if (copy) {
      (void)cudaMemsetAsync(address, 0, 40, stream);
    } else {
      (void)launch("touch", 1, 1, stream, static_cast<float*>(address), 2L);
    }
    (void)cudaFree(address);
    (void)cudaStreamSynchronize(stream);
  };
  EXPECT_DEATH(
      run(false),
      "kernel packhorse::test_kernels::touch.* touches memory .*byte 8 of an allocation of 40 bytes that was freed");
  EXPECT_DEATH(run(true), "memset: 40 bytes from .*an allocation of 40 bytes that was freed");
}

TEST(StandinRules, PageableMemoryIsStagedAndLockedMemoryIsNot) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  float pageable = 1;
  ASSERT_CUDA(cudaMemcpyAsync(x.data(), &pageable, sizeof(float), cudaMemcpyHostToDevice, stream));
  pageable = 2;
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(x.read(), std::vector<float>{1});

  void* address = nullptr;
  ASSERT_CUDA(cudaMallocHost(&address, sizeof(float)));
  auto* locked = static_cast<float*>(address);
  *locked = 3;
  ASSERT_CUDA(cudaMemcpyAsync(x.data(), locked, sizeof(float), cudaMemcpyHostToDevice, stream));
  *locked = 4;  // too early: the copy finds this
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(x.read(), std::vector<float>{4});

  *locked = 0;
  ASSERT_CUDA(cudaMemcpyAsync(locked, x.data(), sizeof(float), cudaMemcpyDeviceToHost, stream));
  EXPECT_EQ(*locked, 0);  // not there yet
  ASSERT_CUDA(cudaMemcpyAsync(&pageable, x.data(), sizeof(float), cudaMemcpyDeviceToHost, stream));
  EXPECT_EQ(pageable, 4);  // such a copy waits
  EXPECT_EQ(*locked, 4);
  EXPECT_CUDA(cudaFreeHost(address));
}

// ---- Streams and events ---------------------------------------------------------------------------------------------

TEST(StandinRules, DestroyedHandles) {
  cudaStream_t stream = nullptr;
  ASSERT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaEvent_t event = nullptr;
  ASSERT_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  EXPECT_CUDA(cudaEventRecord(event, stream));
  EXPECT_CUDA(cudaStreamDestroy(stream));
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorInvalidResourceHandle);
  EXPECT_CUDA(cudaEventSynchronize(event));
  EXPECT_CUDA(cudaEventDestroy(event));
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamWaitEvent(nullptr, event, 0), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGraphDestroy(nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphLaunch(nullptr, nullptr), cudaErrorInvalidValue);
}

TEST(StandinRules, WorkIsLateAndAPollerSeesItsEnd) {
  const TestStream stream;
  const TestEvent event;
  EXPECT_CUDA(cudaEventQuery(event));  // never recorded
  const DeviceArray<float> x(1);
  for (int i = 0; i < 50; ++i) ASSERT_CUDA(cudaMemsetAsync(x.data(), 0, 4, stream));
  ASSERT_CUDA(cudaEventRecord(event, stream));
  int asked = 0;
  while (cudaEventQuery(event) == cudaErrorNotReady) ++asked;
  EXPECT_GT(asked, 5);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);  // as CUDA leaves it
  EXPECT_CUDA(cudaStreamQuery(stream));
}

TEST(StandinRules, ElapsedTime) {
  const TestStream stream;
  const TestEvent begin(cudaEventDefault), end(cudaEventDefault), without;
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorInvalidResourceHandle);
  ASSERT_CUDA(cudaEventRecord(begin, stream));
  const cudaHostFn_t sleep = [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  ASSERT_CUDA(cudaLaunchHostFunc(stream, sleep, nullptr));
  ASSERT_CUDA(cudaEventRecord(end, stream));
  ASSERT_CUDA(cudaEventRecord(without, stream));
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorNotReady);
  ASSERT_CUDA(stream.synchronize());
  ASSERT_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
  EXPECT_GE(milliseconds, 2);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, without), cudaErrorInvalidResourceHandle);
}

TEST(StandinRules, AFunctionOnTheHostMakesNoCalls) {
  cudaError_t inside = cudaSuccess;
  ASSERT_CUDA(cudaLaunchHostFunc(
      nullptr,
      [](void* data) {
        void* address = nullptr;
        *static_cast<cudaError_t*>(data) = cudaMalloc(&address, 1);
      },
      &inside));
  ASSERT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(inside, cudaErrorNotPermitted);
}

// ---- Captures -------------------------------------------------------------------------------------------------------

class StandinCapture : public testing::Test {
 protected:
  void SetUp() override {
    load("fill");
    begin(cudaStreamCaptureModeThreadLocal);
  }
  void TearDown() override {
    cudaGraph_t graph = nullptr;
    (void)cudaStreamEndCapture(stream_, &graph);
    (void)cudaGetLastError();
    EXPECT_CUDA(cudaDeviceSynchronize());
  }
  void begin(cudaStreamCaptureMode mode) { ASSERT_CUDA(cudaStreamBeginCapture(stream_, mode)); }
  cudaError_t end() {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream_, &graph);
    EXPECT_EQ(graph == nullptr, error != cudaSuccess);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    return error;
  }
  cudaError_t work(cudaStream_t stream) { return launch("fill", 1, 32, stream, x_.data(), 32, 1.0F); }
  cudaStreamCaptureStatus status() {
    cudaStreamCaptureStatus is = cudaStreamCaptureStatusNone;
    EXPECT_CUDA(cudaStreamIsCapturing(stream_, &is));
    return is;
  }
  /// A call that the capture does not survive.
  void expect_refused(const std::function<cudaError_t()>& call, cudaError_t with = cudaErrorStreamCaptureUnsupported) {
    if (status() == cudaStreamCaptureStatusNone) begin(cudaStreamCaptureModeThreadLocal);
    EXPECT_EQ(call(), with);
    EXPECT_EQ(status(), cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(work(stream_), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(status(), cudaStreamCaptureStatusNone);
  }

  const TestStream stream_, other_;
  const DeviceArray<float> x_{32};
  const TestEvent event_;
};

TEST_F(StandinCapture, RefusesUnsafeCalls) {
  void* address = nullptr;
  expect_refused([&] { return cudaMalloc(&address, 4); });
  expect_refused([&] { return cudaMallocHost(&address, 4); });
  expect_refused([&] { return cudaFree(x_.data()); });
  expect_refused([&] { return cudaMemset(x_.data(), 0, 4); });
  expect_refused([&] { return cudaMemcpy(&address, x_.data(), 4, cudaMemcpyDeviceToHost); });
  expect_refused([&] { return cudaStreamSynchronize(stream_); });
  expect_refused([&] { return cudaStreamQuery(stream_); });
  expect_refused([&] { return cudaStreamSynchronize(other_); });
  expect_refused([&] { return cudaDeviceSynchronize(); });
  expect_refused([&] { return cudaEventQuery(event_); });
  expect_refused([&] { return cudaEventSynchronize(event_); });
  int on_host = 0;
  expect_refused([&] { return cudaMemcpyAsync(x_.data(), &on_host, 4, cudaMemcpyHostToDevice, stream_); });
  expect_refused([&] { return cudaMemcpyAsync(&on_host, x_.data(), 4, cudaMemcpyDeviceToHost, stream_); });
}

TEST_F(StandinCapture, RefusesTheFirstLaunchOfAKernel) {
  // CUDA may load it then, and wait for the device.
  const auto first = [&] { return launch("launched_once", 1, 1, stream_, x_.data()); };
  expect_refused(first);
  load("launched_once");
  begin(cudaStreamCaptureModeThreadLocal);
  EXPECT_CUDA(first());
  EXPECT_CUDA(end());
}

TEST_F(StandinCapture, ModesSayWhoseCallsAreRefused) {
  const auto in_other_thread = [] {
    cudaError_t error = cudaSuccess;
    std::thread([&] {
      void* address = nullptr;
      error = cudaMalloc(&address, 4);
      if (error == cudaSuccess) cudaFree(address);
    }).join();
    return error;
  };
  EXPECT_CUDA(in_other_thread());
  EXPECT_CUDA(end());
  begin(cudaStreamCaptureModeGlobal);
  expect_refused(in_other_thread);
  begin(cudaStreamCaptureModeRelaxed);
  void* address = nullptr;
  EXPECT_CUDA(cudaMalloc(&address, 4));
  EXPECT_CUDA(cudaFree(address));
  EXPECT_CUDA(cudaEventRecord(event_, stream_));
  expect_refused([&] { return cudaEventQuery(event_); }, cudaErrorCapturedEvent);
  begin(cudaStreamCaptureModeGlobal);
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  EXPECT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
  EXPECT_CUDA(cudaMalloc(&address, 4));
  EXPECT_CUDA(cudaFree(address));
  EXPECT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
  EXPECT_CUDA(end());
}

TEST_F(StandinCapture, AForkIsJoined) {
  ASSERT_CUDA(work(stream_));
  ASSERT_CUDA(cudaEventRecord(event_, stream_));
  ASSERT_CUDA(cudaStreamWaitEvent(other_, event_, 0));
  ASSERT_CUDA(work(other_));
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);

  begin(cudaStreamCaptureModeThreadLocal);
  ASSERT_CUDA(cudaEventRecord(event_, stream_));
  ASSERT_CUDA(cudaStreamWaitEvent(other_, event_, 0));
  ASSERT_CUDA(work(other_));
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);

  begin(cudaStreamCaptureModeThreadLocal);
  ASSERT_CUDA(cudaEventRecord(event_, stream_));
  ASSERT_CUDA(cudaStreamWaitEvent(other_, event_, 0));
  ASSERT_CUDA(work(other_));
  ASSERT_CUDA(cudaEventRecord(event_, other_));
  ASSERT_CUDA(cudaStreamWaitEvent(stream_, event_, 0));
  EXPECT_CUDA(end());
  EXPECT_CUDA(work(other_));  // it captures no more
  EXPECT_CUDA(other_.synchronize());
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorCapturedEvent);
}

TEST_F(StandinCapture, WaitsForNothingOutside) {
  ASSERT_CUDA(cudaEventRecord(event_, other_));
  expect_refused([&] { return cudaStreamWaitEvent(stream_, event_, 0); }, cudaErrorStreamCaptureIsolation);
  const TestStream third;
  ASSERT_CUDA(cudaStreamBeginCapture(third, cudaStreamCaptureModeThreadLocal));
  ASSERT_CUDA(cudaEventRecord(event_, third));
  expect_refused([&] { return cudaStreamWaitEvent(stream_, event_, 0); }, cudaErrorStreamCaptureMerge);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(third, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST_F(StandinCapture, TheLegacyStreamWaitsForNoCapture) {
  EXPECT_CUDA(work(nullptr));  // stream_ does not wait for it
  EXPECT_CUDA(end());
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal), cudaErrorStreamCaptureUnsupported);
  cudaStream_t blocking = nullptr;
  ASSERT_CUDA(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault));
  ASSERT_CUDA(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeThreadLocal));
  EXPECT_EQ(work(nullptr), cudaErrorStreamCaptureImplicit);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_CUDA(cudaStreamDestroy(blocking));
}

TEST_F(StandinCapture, BeginsAndEndsOnce) {
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaErrorIllegalState);
  cudaError_t elsewhere = cudaSuccess;
  std::thread([&] { elsewhere = end(); }).join();
  EXPECT_EQ(elsewhere, cudaErrorStreamCaptureWrongThread);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(end(), cudaErrorIllegalState);
}

// ---- Devices --------------------------------------------------------------------------------------------------------

/// A process that was started with these variables.
class StandinDevicesDeathTest : public testing::Test {
 protected:
  StandinDevicesDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~StandinDevicesDeathTest() override {
    for (const char* name : {"DEVICES", "MEMORY", "RESOURCES", "PKEYS"})
      unsetenv((std::string("PACKHORSE_STANDIN_") + name).c_str());
    GTEST_FLAG_SET(death_test_style, "fast");
  }
  static void set(const char* name, const std::string& value) {
    setenv((std::string("PACKHORSE_STANDIN_") + name).c_str(), value.c_str(), 1);
  }
  static void want(bool held, const char* what) {
    if (held) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::exit(1);
  }
};
#define WANT(condition) want(condition, #condition)

TEST_F(StandinDevicesDeathTest, NoDevice) {
  set("DEVICES", "0");
  const auto body = [] {
    int count = -1, version = 0;
    WANT(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    WANT(count == 0);
    void* address = nullptr;
    WANT(cudaMalloc(&address, 4) == cudaErrorNoDevice);
    WANT(cudaGetLastError() == cudaErrorNoDevice);
    WANT(cudaDriverGetVersion(&version) == cudaSuccess && version == CUDART_VERSION);
    std::exit(0);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

TEST_F(StandinDevicesDeathTest, NoDriver) {
  set("DEVICES", "nodriver");
  const auto body = [] {
    int count = -1, version = -1;
    WANT(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
    WANT(cudaDriverGetVersion(&version) == cudaSuccess && version == 0);
    WANT(cudaRuntimeGetVersion(&version) == cudaSuccess && version == CUDART_VERSION);
    std::exit(0);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
}

TEST_F(StandinDevicesDeathTest, SeveralDevices) {
  set("DEVICES", "2");
  set("MEMORY", "1000000");
  const auto body = [] {
    int count = 0, device = 0;
    WANT(cudaGetDeviceCount(&count) == cudaSuccess && count == 2);
    WANT(cudaSetDevice(2) == cudaErrorInvalidDevice);
    cudaStream_t stream = nullptr;
    WANT(cudaSetDevice(1) == cudaSuccess && cudaGetDevice(&device) == cudaSuccess && device == 1);
    WANT(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    WANT(cudaStreamGetDevice(stream, &device) == cudaSuccess && device == 1);
    const DeviceArray<float> x(32);
    WANT(launch("fill", 1, 32, stream, x.data(), 32, 1.0F) == cudaSuccess);
    WANT(cudaStreamSynchronize(stream) == cudaSuccess);
    WANT(cudaSetDevice(0) == cudaSuccess);
    WANT(launch("fill", 1, 32, stream, x.data(), 32, 1.0F) == cudaErrorInvalidResourceHandle);
    cudaEvent_t event = nullptr;
    WANT(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
    WANT(cudaEventRecord(event, stream) == cudaErrorInvalidResourceHandle);
    void* address = nullptr;
    WANT(cudaMalloc(&address, 1000001) == cudaErrorMemoryAllocation);
    WANT(cudaMalloc(&address, 1000000) == cudaSuccess);
    // A kernel of one device on the memory of the other.
    (void)launch("fill", 1, 32, nullptr, x.data(), 32, 1.0F);
    (void)cudaDeviceSynchronize();
  };
  EXPECT_EXIT(body(), testing::KilledBySignal(SIGSEGV), "kernel .*fill.* touches memory .* on device 1");
}

TEST_F(StandinDevicesDeathTest, MemoryIsClosedWithoutProtectionKeysToo) {
  set("PKEYS", "0");
  const DeviceArray<float> x(std::vector<float>(10, 1.0F)), large(std::vector<float>(3 << 20, 2.0F));
  const auto right = [&] {
    for (int i = 0; i < 3; ++i) WANT(launch("touch", 1, 1, nullptr, large.data(), 100L) == cudaSuccess);
    WANT(large.read()[100] == 5);
    WANT(x.read() == std::vector<float>(10, 1.0F));
    std::exit(0);
  };
  EXPECT_EXIT(right(), testing::ExitedWithCode(0), "");
  volatile float* pointer = x.data();
  EXPECT_EXIT(pointer[3] = 1, testing::KilledBySignal(SIGSEGV), "the host follows a pointer");
  EXPECT_EXIT(large.data()[1 << 20] = 1, testing::KilledBySignal(SIGSEGV), "the host follows a pointer");
}

TEST_F(StandinDevicesDeathTest, SomeAreVisible) {
  set("DEVICES", "4");
  setenv("CUDA_VISIBLE_DEVICES", "2,1,7,0", 1);
  const auto body = [] {
    int count = 0;
    char name[32] = "";
    WANT(cudaGetDeviceCount(&count) == cudaSuccess && count == 2);
    WANT(cudaDeviceGetPCIBusId(name, sizeof name, 0) == cudaSuccess && std::string(name) == "0000:12:00.0");
    WANT(cudaDeviceGetPCIBusId(name, sizeof name, 1) == cudaSuccess && std::string(name) == "0000:11:00.0");
    std::exit(0);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST_F(StandinDevicesDeathTest, RegistersLimitTheThreads) {
  const std::string path = testing::TempDir() + "standin_resources_" + std::to_string(getpid());
  const auto body = [] {
    const DeviceArray<float> x(1024);
    cudaFuncAttributes attributes{};
    WANT(cudaFuncGetAttributes(&attributes, kernel("touch")) == cudaSuccess);
    WANT(attributes.numRegs == 72 && attributes.maxThreadsPerBlock == 896);
    WANT(launch("touch", 1, 896, nullptr, x.data(), 0L) == cudaSuccess);
    WANT(launch("touch", 1, 897, nullptr, x.data(), 0L) == cudaErrorLaunchOutOfResources);
    std::exit(0);
  };
  if (std::FILE* file = std::fopen(path.c_str(), "w")) {
    std::fputs("_ZN9packhorse12test_kernels5touchEPfl 72 0\n", file);
    std::fclose(file);
  }
  if (std::getenv("PACKHORSE_STANDIN_RESOURCES") == nullptr) set("RESOURCES", path);
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace packhorse::standin

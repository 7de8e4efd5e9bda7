// What a plug-in is: kernels and their launches, built by nvcc with -cudart shared. The tests launch most kernels
// themselves, with cudaLaunchKernel, by their names here.
#include <cuda_runtime.h>

#include <cstring>
#include <vector>

#include "standin/test_kernels.cuh"

using namespace packhorse::test_kernels;

extern "C" {

const void* test_kernel(const char* name) {
  const struct {
    const char* name;
    const void* kernel;
  } all[] = {
      {"column_sums<float>", reinterpret_cast<const void*>(column_sums<float>)},
      {"column_sums<half>", reinterpret_cast<const void*>(column_sums<__half>)},
      {"column_sums<bf16>", reinterpret_cast<const void*>(column_sums<__nv_bfloat16>)},
      {"mean", reinterpret_cast<const void*>(mean)},
      {"fill", reinterpret_cast<const void*>(fill<float>)},
      {"scale", reinterpret_cast<const void*>(scale)},
      {"add", reinterpret_cast<const void*>(add)},
      {"launched_once", reinterpret_cast<const void*>(launched_once)},
      {"numbers", reinterpret_cast<const void*>(numbers)},
      {"turn_round", reinterpret_cast<const void*>(turn_round)},
      {"turn_round_static<128>", reinterpret_cast<const void*>(turn_round_static<128>)},
      {"turn_round_static<256>", reinterpret_cast<const void*>(turn_round_static<256>)},
      {"by_value", reinterpret_cast<const void*>(by_value)},
      {"warp_words", reinterpret_cast<const void*>(warp_words)},
      {"barrier_in_a_branch", reinterpret_cast<const void*>(barrier_in_a_branch)},
      {"return_before_barrier", reinterpret_cast<const void*>(return_before_barrier)},
      {"full_mask_in_a_branch", reinterpret_cast<const void*>(full_mask_in_a_branch)},
      {"lane_outside_of_mask", reinterpret_cast<const void*>(lane_outside_of_mask)},
      {"turn_round_at_once", reinterpret_cast<const void*>(turn_round_at_once<64>)},
      {"count_from_nothing", reinterpret_cast<const void*>(count_from_nothing<32>)},
      {"write_behind_dynamic", reinterpret_cast<const void*>(write_behind_dynamic)},
      {"touch", reinterpret_cast<const void*>(touch)},
      {"not_registered", reinterpret_cast<const void*>(not_registered)},
  };
  for (const auto& one : all)
    if (std::strcmp(one.name, name) == 0) return one.kernel;
  return nullptr;
}

// With the compiler's own launch.
void launch_fill(float* dst, int count, float value, cudaStream_t stream) {
  fill<<<(count + 127) / 128, 128, 0, stream>>>(dst, count, value);
}
void launch_turn_round(float* x, unsigned threads, cudaStream_t stream) {
  turn_round<<<1, threads, threads * sizeof(float), stream>>>(x);
}
void launch_by_value(float* dst, cudaStream_t stream) {
  by_value<<<1, 32, 0, stream>>>(1, Numbers{dst, float4{2, 0, 0, 4}, 8}, 16.0);
}

// All that a plug-in does, with no help from a test: column sums of ones, captured on two streams and replayed. 0 if
// all is right, else CUDA's error, or -1 for wrong numbers.
int whole_run() {
#define CHECK(call) \
  if (const cudaError_t error = call; error != cudaSuccess) return error
  constexpr int kRows = 100, kColumns = 10, kReplays = 3;
  std::vector<float> ones(kRows * kColumns, 1.0f), sums(kColumns);
  float *src = nullptr, *dst = nullptr, *total = nullptr;
  cudaStream_t main = nullptr, side = nullptr;
  cudaEvent_t event = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaFuncAttributes attributes{};
  CHECK(cudaStreamCreateWithFlags(&main, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  CHECK(cudaMalloc(&src, ones.size() * sizeof(float)));
  CHECK(cudaMalloc(&dst, sums.size() * sizeof(float)));
  CHECK(cudaMalloc(&total, sums.size() * sizeof(float)));
  CHECK(cudaMemcpyAsync(src, ones.data(), ones.size() * sizeof(float), cudaMemcpyHostToDevice, main));
  CHECK(cudaMemsetAsync(total, 0, sums.size() * sizeof(float), main));
  CHECK(cudaFuncGetAttributes(&attributes, column_sums<float>));
  CHECK(cudaFuncGetAttributes(&attributes, add));
  CHECK(cudaStreamBeginCapture(main, cudaStreamCaptureModeThreadLocal));
  column_sums<float><<<kColumns, 128, 0, main>>>(src, dst, kRows, kColumns);
  CHECK(cudaEventRecord(event, main));
  CHECK(cudaStreamWaitEvent(side, event, 0));
  add<<<1, 32, 0, side>>>(total, dst, kColumns);
  CHECK(cudaEventRecord(event, side));
  CHECK(cudaStreamWaitEvent(main, event, 0));
  CHECK(cudaStreamEndCapture(main, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < kReplays; ++i) CHECK(cudaGraphLaunch(exec, main));
  CHECK(cudaMemcpyAsync(sums.data(), total, sums.size() * sizeof(float), cudaMemcpyDeviceToHost, main));
  CHECK(cudaStreamSynchronize(main));
  CHECK(cudaGetLastError());
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaFree(src));
  CHECK(cudaFree(dst));
  CHECK(cudaFree(total));
  CHECK(cudaEventDestroy(event));
  CHECK(cudaStreamDestroy(main));
  CHECK(cudaStreamDestroy(side));
#undef CHECK
  return sums == std::vector<float>(kColumns, kReplays * static_cast<float>(kRows)) ? 0 : -1;
}
}

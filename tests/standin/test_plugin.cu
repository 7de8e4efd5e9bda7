// What a plug-in is: kernels and their launches, built by nvcc with -cudart shared. The tests launch most kernels
// themselves, with cudaLaunchKernel, by their names here.
#include <cuda_runtime.h>

#include <cstring>

#include "standin/test_kernels.cuh"

using namespace packhorse::cuda;

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
}

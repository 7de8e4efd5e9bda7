// The kernels of the tests, for the host.
// clang-format off: the kernels know CUDA's words from this header, so it comes first
#include "standin/cuda_on_host.h"
// clang-format on

#include "standin/test_kernels.cuh"

DEFINE_DYNAMIC_SHARED(packhorse::cuda, dynamic)

REGISTER_KERNEL(packhorse::cuda::column_sums<float>)
REGISTER_KERNEL(packhorse::cuda::column_sums<__half>)
REGISTER_KERNEL(packhorse::cuda::column_sums<__nv_bfloat16>)
REGISTER_KERNEL(packhorse::cuda::mean)
REGISTER_KERNEL(packhorse::cuda::fill<float>)
REGISTER_KERNEL(packhorse::cuda::scale)
REGISTER_KERNEL(packhorse::cuda::add)
REGISTER_KERNEL(packhorse::cuda::numbers)
REGISTER_KERNEL(packhorse::cuda::turn_round)
REGISTER_KERNEL(packhorse::cuda::turn_round_static<128>)
REGISTER_KERNEL(packhorse::cuda::turn_round_static<256>)
REGISTER_KERNEL(packhorse::cuda::by_value)
REGISTER_KERNEL(packhorse::cuda::warp_words)
REGISTER_KERNEL(packhorse::cuda::barrier_in_a_branch)
REGISTER_KERNEL(packhorse::cuda::return_before_barrier)
REGISTER_KERNEL(packhorse::cuda::full_mask_in_a_branch)
REGISTER_KERNEL(packhorse::cuda::lane_outside_of_mask)
REGISTER_KERNEL(packhorse::cuda::turn_round_at_once<64>)
REGISTER_KERNEL(packhorse::cuda::count_from_nothing<32>)
REGISTER_KERNEL(packhorse::cuda::write_behind_dynamic)
REGISTER_KERNEL(packhorse::cuda::touch)

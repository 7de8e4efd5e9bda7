// The kernels of the tests, for the host.
// clang-format off: the kernels know CUDA's words from this header, so it comes first
#include "standin/cuda_on_host.h"
// clang-format on

#include "standin/test_kernels.cuh"

DEFINE_DYNAMIC_SHARED(packhorse::test_kernels, dynamic)

REGISTER_KERNEL(packhorse::test_kernels::column_sums<float>)
REGISTER_KERNEL(packhorse::test_kernels::column_sums<__half>)
REGISTER_KERNEL(packhorse::test_kernels::column_sums<__nv_bfloat16>)
REGISTER_KERNEL(packhorse::test_kernels::mean)
REGISTER_KERNEL(packhorse::test_kernels::fill<float>)
REGISTER_KERNEL(packhorse::test_kernels::scale)
REGISTER_KERNEL(packhorse::test_kernels::add)
REGISTER_KERNEL(packhorse::test_kernels::launched_once)
REGISTER_KERNEL(packhorse::test_kernels::numbers)
REGISTER_KERNEL(packhorse::test_kernels::turn_round)
REGISTER_KERNEL(packhorse::test_kernels::turn_round_static<128>)
REGISTER_KERNEL(packhorse::test_kernels::turn_round_static<256>)
REGISTER_KERNEL(packhorse::test_kernels::by_value)
REGISTER_KERNEL(packhorse::test_kernels::warp_words)
REGISTER_KERNEL(packhorse::test_kernels::barrier_in_a_branch)
REGISTER_KERNEL(packhorse::test_kernels::return_before_barrier)
REGISTER_KERNEL(packhorse::test_kernels::full_mask_in_a_branch)
REGISTER_KERNEL(packhorse::test_kernels::lane_outside_of_mask)
REGISTER_KERNEL(packhorse::test_kernels::turn_round_at_once<64>)
REGISTER_KERNEL(packhorse::test_kernels::count_from_nothing<32>)
REGISTER_KERNEL(packhorse::test_kernels::write_behind_dynamic)
REGISTER_KERNEL(packhorse::test_kernels::touch)

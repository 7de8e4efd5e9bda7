// The kernels of lib/ops/cuda that the stand-in runs. A launch of one that is not in this list fails.

// clang-format off: this one comes first
#include "standin/cuda_on_host.h"
// clang-format on

#include "ops/cuda/batch_norm.cuh"
#include "ops/cuda/convolution_glue.cuh"
#include "ops/cuda/fused_pooling.cuh"
#include "ops/cuda/loss.cuh"
#include "ops/cuda/made_up.cuh"
#include "ops/cuda/pointwise.cuh"
#include "ops/cuda/pooling.cuh"
#include "ops/cuda/update.cuh"
#include "ops/cuda/updates.cuh"

DEFINE_DYNAMIC_SHARED(packhorse::cuda, dynamic)

// A kernel for each type, and for each type with vectors of 16 bytes and without.
#define REGISTER_TYPES(name)                     \
  REGISTER_KERNEL(packhorse::cuda::name<float>)  \
  REGISTER_KERNEL(packhorse::cuda::name<__half>) \
  REGISTER_KERNEL(packhorse::cuda::name<__nv_bfloat16>)
#define REGISTER_FORMS(name)                               \
  REGISTER_KERNEL(packhorse::cuda::name<float, 4>)         \
  REGISTER_KERNEL(packhorse::cuda::name<float, 1>)         \
  REGISTER_KERNEL(packhorse::cuda::name<__half, 8>)        \
  REGISTER_KERNEL(packhorse::cuda::name<__half, 1>)        \
  REGISTER_KERNEL(packhorse::cuda::name<__nv_bfloat16, 8>) \
  REGISTER_KERNEL(packhorse::cuda::name<__nv_bfloat16, 1>)
// A kernel with a window: any one, and those of networks with vectors.
#define REGISTER_WINDOW(name, ...)                          \
  REGISTER_KERNEL(packhorse::cuda::name<__VA_ARGS__, 3, 1>) \
  REGISTER_KERNEL(packhorse::cuda::name<__VA_ARGS__, 3, 2>)
#define REGISTER_WINDOWS(name)                                   \
  REGISTER_WINDOW(name, float, 4)                                \
  REGISTER_WINDOW(name, __half, 8)                               \
  REGISTER_WINDOW(name, __nv_bfloat16, 8)                        \
  REGISTER_KERNEL(packhorse::cuda::name<float, 4, 0, 0>)         \
  REGISTER_KERNEL(packhorse::cuda::name<float, 1, 0, 0>)         \
  REGISTER_KERNEL(packhorse::cuda::name<__half, 8, 0, 0>)        \
  REGISTER_KERNEL(packhorse::cuda::name<__half, 1, 0, 0>)        \
  REGISTER_KERNEL(packhorse::cuda::name<__nv_bfloat16, 8, 0, 0>) \
  REGISTER_KERNEL(packhorse::cuda::name<__nv_bfloat16, 1, 0, 0>)

REGISTER_FORMS(statistics_sums)
REGISTER_TYPES(statistics_finish)
REGISTER_KERNEL(packhorse::cuda::finish)
REGISTER_FORMS(apply)
REGISTER_FORMS(apply_gradient)
REGISTER_KERNEL(packhorse::cuda::add_chunks)
REGISTER_KERNEL(packhorse::cuda::finish_gradient)
REGISTER_FORMS(statistics_gradient)

REGISTER_FORMS(add)
REGISTER_FORMS(masked_copy)
REGISTER_TYPES(pad_channels)
REGISTER_KERNEL(packhorse::cuda::add_bias)
REGISTER_KERNEL(packhorse::cuda::fill)
REGISTER_KERNEL(packhorse::cuda::convert<float, float>)
REGISTER_KERNEL(packhorse::cuda::convert<__half, float>)
REGISTER_KERNEL(packhorse::cuda::convert<__nv_bfloat16, float>)
REGISTER_TYPES(weights_to_channels_last)
REGISTER_TYPES(gradient_from_channels_last)
REGISTER_TYPES(normalise_input)

REGISTER_WINDOWS(max_pool)
REGISTER_WINDOWS(max_pool_gradient)
REGISTER_WINDOWS(average_pool)
REGISTER_WINDOWS(average_pool_gradient)
REGISTER_FORMS(global_pool)
REGISTER_FORMS(global_pool_gradient)

REGISTER_KERNEL(packhorse::cuda::softmax_loss)
REGISTER_KERNEL(packhorse::cuda::sum_results)

REGISTER_KERNEL(packhorse::cuda::sum_squares)
REGISTER_KERNEL(packhorse::cuda::finish_squares)
REGISTER_KERNEL(packhorse::cuda::sum_columns)
REGISTER_KERNEL(packhorse::cuda::find_finite)
REGISTER_KERNEL(packhorse::cuda::next_loss_scale)
REGISTER_KERNEL(packhorse::cuda::running_statistics)
REGISTER_KERNEL(packhorse::cuda::sgd)
REGISTER_KERNEL(packhorse::cuda::update)
REGISTER_KERNEL(packhorse::cuda::write_report)
REGISTER_KERNEL(packhorse::cuda::set_call)

REGISTER_WINDOWS(apply_max_pool)
REGISTER_FORMS(apply_global_pool)
REGISTER_FORMS(global_pool_gradient_mask)
REGISTER_WINDOWS(max_pool_statistics_gradient)
REGISTER_TYPES(round_pair)
REGISTER_KERNEL(packhorse::cuda::moments_of_sums)
REGISTER_KERNEL(packhorse::cuda::widen_pair)

REGISTER_TYPES(made_up)
REGISTER_KERNEL(packhorse::cuda::checksum)

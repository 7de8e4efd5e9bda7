// Gives CUDA's device words a meaning for g++: the source of a kernel compiles as it stands, and its threads run on
// fibres (fibres.h). Include it before the kernels' headers; then
//
//   REGISTER_KERNEL(packhorse::cuda::name<float>)           // at namespace scope, once for each instance
//   DEFINE_DYNAMIC_SHARED(packhorse::cuda, dynamic)         // once for each object: what extern __shared__ declares
//
// Shared memory is thread_local: so `__shared__ float part[32];` in a function is one array for all of its threads, and
// `extern __shared__ unsigned char dynamic[];` a declaration. All threads of a kernel run on one OS thread, one block
// at a time. The variables' places and owners are in the symbol table (symbols.h); every thread_local variable in a
// function of an object that registers kernels is shared memory, and poisoned before each block.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

// CUDA's own headers first: what they declare with the words below stays as it is.
#include <cuda_runtime.h>
#include <device_launch_parameters.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "standin/fibres.h"
#include "standin/kernel_table.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __shared__ thread_local
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (packhorse::standin::current_thread->index)
#define blockIdx (packhorse::standin::current_block.index)
#define blockDim (packhorse::standin::current_block.threads)
#define gridDim (packhorse::standin::current_block.grid)
inline constexpr int warpSize = 32;

// ---- Waiting for others ---------------------------------------------------------------------------------------------

inline void __syncthreads() { packhorse::standin::sync_threads(); }
inline void __syncwarp(unsigned mask = 0xffffffff) { packhorse::standin::sync_warp(mask); }
inline unsigned __ballot_sync(unsigned mask, int vote) { return packhorse::standin::ballot(mask, vote != 0); }
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) == mask; }

namespace packhorse::standin {

/// The value that lane `source` of this thread's group gives; its own, where the group has no such lane.
template <typename T>
T shuffle_value(const char* what, unsigned mask, T value, int64_t source, bool within) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, static_cast<const void*>(&value), sizeof(T));
  const unsigned lane = current_thread->rank % kWarp;
  bits = shuffle(mask, bits, within ? static_cast<unsigned>(source) : lane, what);
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  return value;
}

struct LaneGroup {
  int64_t lane, begin, width;
  explicit LaneGroup(int of_width)
      : lane(current_thread->rank % kWarp), begin(lane / of_width * of_width), width(of_width) {}
  bool holds(int64_t other) const { return other >= begin && other < begin + width; }
};

}  // namespace packhorse::standin

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const packhorse::standin::LaneGroup group(width);
  return packhorse::standin::shuffle_value("__shfl_sync", mask, value, group.begin + (source & (width - 1)), true);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const packhorse::standin::LaneGroup group(width);
  const int64_t source = group.lane + by;
  return packhorse::standin::shuffle_value("__shfl_down_sync", mask, value, source, group.holds(source));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const packhorse::standin::LaneGroup group(width);
  const int64_t source = group.lane - by;
  return packhorse::standin::shuffle_value("__shfl_up_sync", mask, value, source, group.holds(source));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32) {
  const packhorse::standin::LaneGroup group(width);
  const int64_t source = group.lane ^ by;
  // A lane of an earlier group may be read, one of a later group may not.
  return packhorse::standin::shuffle_value("__shfl_xor_sync", mask, value, source, source < group.begin + width);
}

// ---- Memory: one thread runs at a time, so that all is atomic
// --------------------------------------------------------

template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::max(*at, value));
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::min(*at, value));
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at | value);
}
template <typename T>
T atomicAnd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at & value);
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, value);
}
template <typename T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}
/// The element, or 0 after `last`.
inline unsigned atomicInc(unsigned* at, unsigned last) { return std::exchange(*at, *at >= last ? 0 : *at + 1); }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
template <typename T>
T __ldg(const T* at) {
  return *at;
}
template <typename T>
T __ldcs(const T* at) {
  return *at;
}
template <typename T>
T __ldcg(const T* at) {
  return *at;
}
template <typename T>
void __stcs(T* at, std::type_identity_t<T> value) {
  *at = value;
}
template <typename T>
void __stcg(T* at, std::type_identity_t<T> value) {
  *at = value;
}

// ---- Arithmetic -----------------------------------------------------------------------------------------------------
// A device's rsqrtf and the fast forms (__expf, __fdividef, ...) have errors of some units in the last place; these
// have not.

inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0F / std::sqrt(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __saturatef(float x) { return x >= 0 ? std::min(x, 1.0F) : 0.0F; }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(uint64_t{x} * y >> 32); }
[[noreturn]] inline void __trap() { std::abort(); }

// As a device has them: for any two numbers of one type, NaN is passed over.
#define PACKHORSE_STANDIN_MIN_MAX(T)                         \
  inline constexpr T min(T x, T y) { return y < x ? y : x; } \
  inline constexpr T max(T x, T y) { return x < y ? y : x; }
PACKHORSE_STANDIN_MIN_MAX(int)
PACKHORSE_STANDIN_MIN_MAX(unsigned)
PACKHORSE_STANDIN_MIN_MAX(long)
PACKHORSE_STANDIN_MIN_MAX(unsigned long)
PACKHORSE_STANDIN_MIN_MAX(long long)
PACKHORSE_STANDIN_MIN_MAX(unsigned long long)
#undef PACKHORSE_STANDIN_MIN_MAX
inline float min(float x, float y) { return std::fmin(x, y); }
inline float max(float x, float y) { return std::fmax(x, y); }
inline double min(double x, double y) { return std::fmin(x, y); }
inline double max(double x, double y) { return std::fmax(x, y); }

// NOLINTEND(bugprone-reserved-identifier)

// ---- Registration ---------------------------------------------------------------------------------------------------

namespace packhorse::standin {

template <auto kFunction, typename... Parameters, size_t... kIndex>
void call_kernel(void (*)(Parameters...), void* const* arguments, std::index_sequence<kIndex...>) {
  kFunction(*static_cast<std::remove_cv_t<Parameters>*>(arguments[kIndex])...);
}

template <auto kFunction, typename... Parameters>
bool register_typed(void (*function)(Parameters...)) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "parameters are copied bit by bit");
  register_kernel(
      reinterpret_cast<const void*>(function),
      [](void* const* arguments) {
        call_kernel<kFunction>(kFunction, arguments, std::index_sequence_for<Parameters...>{});
      },
      {Parameter{sizeof(Parameters), std::is_pointer_v<Parameters>}...});  // NOLINT(bugprone-sizeof-expression)
  return true;
}

}  // namespace packhorse::standin

#define PACKHORSE_STANDIN_NAME_(count) packhorse_standin_registered_##count
#define PACKHORSE_STANDIN_NAME(count) PACKHORSE_STANDIN_NAME_(count)
#define REGISTER_KERNEL(...)                                               \
  [[maybe_unused]] static const bool PACKHORSE_STANDIN_NAME(__COUNTER__) = \
      packhorse::standin::register_typed<(__VA_ARGS__)>(__VA_ARGS__);

/// What a block can have on sm_90.
#define PACKHORSE_STANDIN_SHARED (227 << 10)
// NOLINTBEGIN(bugprone-macro-parentheses): the names of a namespace and of a variable
#define DEFINE_DYNAMIC_SHARED(space, name)                                                                \
  namespace space {                                                                                       \
  alignas(1024) thread_local unsigned char name[PACKHORSE_STANDIN_SHARED + 256];                          \
  }                                                                                                       \
  [[maybe_unused]] static const bool PACKHORSE_STANDIN_NAME(__COUNTER__) = [] {                           \
    packhorse::standin::register_dynamic_shared([] { return reinterpret_cast<std::byte*>(space::name); }, \
                                                sizeof(space::name));                                     \
    return true;                                                                                          \
  }();
// NOLINTEND(bugprone-macro-parentheses)

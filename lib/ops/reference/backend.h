// The reference backend: plain loops over f32 with sums in f64. Correct, not fast: the tests check the other backends
// against it.
#pragma once

#include <cstdint>
#include <memory>

#include "ops/ops.h"
#include "tensor/types.h"

namespace packhorse::reference {

/// Throws an Error for a dtype other than f32.
std::unique_ptr<Backend> make_backend(Dtype dtype, int threads, bool training);

std::unique_ptr<Operation> make(const ConvolutionTask& task);
std::unique_ptr<Operation> make(const BatchNormTask& task);
std::unique_ptr<Operation> make(const AddTask& task);
std::unique_ptr<Operation> make(const PoolTask& task);
std::unique_ptr<Operation> make(const GlobalPoolTask& task);
std::unique_ptr<Operation> make(const FullyConnectedTask& task);
std::unique_ptr<Loss> make(const LossTask& task);
std::unique_ptr<Input> make(const InputTask& task);

/// The channels of one pixel.
inline float* at(const View& view, int64_t n, int64_t y, int64_t x) {
  return static_cast<float*>(view.data) + ((n * view.shape.h + y) * view.shape.w + x) * view.pixel_stride;
}
/// The channels of pixel `pixel` of the whole batch.
inline float* at(const View& view, int64_t pixel) { return static_cast<float*>(view.data) + pixel * view.pixel_stride; }

/// Sets a gradient to zero unless it accumulates, so that backward can always add to it.
void begin(const Gradient& gradient);

}  // namespace packhorse::reference

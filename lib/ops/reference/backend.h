// The reference: plain loops over f32 with sums in f64, the truth that other backends are held against. Right, not
// fast.
#pragma once

#include <memory>

#include "ops/ops.h"

namespace packhorse::reference {

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
/// The channels of pixel number `pixel` of the batch.
inline float* at(const View& view, int64_t pixel) { return static_cast<float*>(view.data) + pixel * view.pixel_stride; }

/// Sets every element of a gradient that does not accumulate to zero, so that all may be added to.
void begin(const Gradient& gradient);

}  // namespace packhorse::reference

// The CPU backend: oneDNN for convolutions and matrix products, kernels of our own for what lies between them.
//
// Rule: dnnl.hpp is included by this folder's .cc files and primitive.h only.
#pragma once

#include <memory>

#include "ops/ops.h"

namespace packhorse::cpu {

/// Throws an Error where the CPU lacks what `dtype` needs.
std::unique_ptr<Backend> make_backend(Dtype dtype, int threads, bool training);

/// What the operations of one executor share.
class Context;
std::unique_ptr<Operation> make(Context& context, const ConvolutionTask& task);
std::unique_ptr<Operation> make(Context& context, const BatchNormTask& task);
std::unique_ptr<Operation> make(Context& context, const AddTask& task);
std::unique_ptr<Operation> make(Context& context, const PoolTask& task);
std::unique_ptr<Operation> make(Context& context, const GlobalPoolTask& task);
std::unique_ptr<Operation> make(Context& context, const FullyConnectedTask& task);
std::unique_ptr<Loss> make(Context& context, const LossTask& task);
std::unique_ptr<Input> make(Context& context, const InputTask& task);

}  // namespace packhorse::cpu

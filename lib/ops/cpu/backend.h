// The CPU backend: oneDNN computes convolutions and matrix products, our own kernels compute everything else.
//
// Rule: only primitive.h and the .cc files of this folder include dnnl.hpp.
#pragma once

#include <memory>

#include "ops/ops.h"
#include "tensor/types.h"

namespace packhorse::cpu {

/// Throws an Error if the CPU lacks the instructions that `dtype` needs.
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

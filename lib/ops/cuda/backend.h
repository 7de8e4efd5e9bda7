// The GPU backend: cuDNN computes convolutions and matrix products, our own kernels compute everything else. Part of
// the plug-in.
#pragma once

#include <memory>
#include <vector>

#include "ops/backend.h"
#include "tensor/types.h"

namespace packhorse::cuda {

/// f16 first.
std::vector<Dtype> types();
/// Throws an Error if no GPU can be used.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

}  // namespace packhorse::cuda

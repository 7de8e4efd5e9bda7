// The list of backends, fastest first: the only place that knows which were built.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace packhorse {

/// "cpu" (oneDNN and own kernels), "reference" (plain loops, the truth); a GPU build adds "cuda". Fastest first.
std::vector<std::string> backend_names();

/// Throws a UsageError for an unknown name, an Error where this machine cannot run `dtype` on it.
std::unique_ptr<Backend> make_backend(const std::string& name, Dtype dtype, int threads, bool training);

/// Whether sibling convolutions are worth running as one on it.
bool merges_siblings(const std::string& name);

}  // namespace packhorse

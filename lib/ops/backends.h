// The list of backends: the only place that knows which ones there are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "tensor/types.h"

namespace packhorse {

/// A backend by name: the types that it computes in on this machine, and how it is made.
struct BackendEntry {
  std::string name;
  std::vector<Dtype> (*types)();
  std::unique_ptr<Backend> (*make)(const BackendOptions& options);
};

/// Adds one that is not part of the build, at the end. Call it before the first use of the list.
void add_backend(BackendEntry added);

/// Fastest first: "cuda" where there is a GPU that the plug-in can use, "cpu" (oneDNN and our own kernels), "reference"
/// (plain loops, to check the others against).
std::vector<std::string> backend_names();

/// The types of activations that the backend can compute in on this machine, the one that it prefers first. An empty
/// name, or "auto": the first backend. Throws as make_backend().
std::vector<Dtype> backend_types(const std::string& name);

/// An empty name: the first. Throws a UsageError for an unknown name, an Error if the backend cannot compute in this
/// type on this machine, or not at all: for "cuda" it says what is missing.
std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options);

}  // namespace packhorse

#include "ops/backends.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "ops/cpu/backend.h"
#include "ops/plugin.h"
#include "ops/reference/backend.h"

namespace packhorse {

namespace {

/// The name of a plug-in. The list of backends may be asked for before main() begins.
const std::string& cuda_name() {
  static const std::string name = "cuda";
  return name;
}

std::vector<BackendEntry>& entries() {
  static std::vector<BackendEntry> list = {
      {"cpu", cpu::types, cpu::make_backend},
      {"reference", reference::types, reference::make_backend},
  };
  // A GPU comes first, where there is one.
  static const bool asked = [] {
    const OpenedPlugin& cuda = opened_plugin(cuda_name());
    if (cuda.missing.empty()) list.insert(list.begin(), {cuda_name(), cuda.plugin->types, cuda.plugin->make});
    return true;
  }();
  (void)asked;
  return list;
}

const BackendEntry& entry(const std::string& name) {
  for (const BackendEntry& candidate : entries())
    if (candidate.name == name || name.empty() || name == "auto") return candidate;
  if (name == cuda_name())
    throw Error({"there is no GPU to compute on: " + opened_plugin(cuda_name()).missing, "backend cuda",
                 "--backend cpu computes without one"});
  throw UsageError({"this build has no backend '" + name + "'", "backend", "use one of: " + joined(backend_names())});
}

}  // namespace

void add_backend(BackendEntry added) { entries().push_back(std::move(added)); }

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  names.reserve(entries().size());
  for (const BackendEntry& candidate : entries()) names.push_back(candidate.name);
  return names;
}

std::vector<Dtype> backend_types(const std::string& name) { return entry(name).types(); }

std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options) {
  const BackendEntry& found = entry(name);
  const std::vector<Dtype> types = found.types();
  if (std::find(types.begin(), types.end(), options.dtype) == types.end())
    throw Error({"this backend cannot compute in " + name_of(options.dtype) + " on this machine",
                 "backend " + found.name, "use --precision " + name_of(types.front()) + ", or another --backend"});
  return found.make(options);
}

}  // namespace packhorse

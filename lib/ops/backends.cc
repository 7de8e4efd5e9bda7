#include "ops/backends.h"

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "ops/cpu/backend.h"
#include "ops/reference/backend.h"

namespace packhorse {

namespace {

struct Entry {
  std::string_view name;
  std::vector<Dtype> (*types)();
  std::unique_ptr<Backend> (*make)(Dtype dtype, int threads, bool training);
};

constexpr std::array kBackends = {
    Entry{"cpu", cpu::types, cpu::make_backend},
    Entry{"reference", reference::types, reference::make_backend},
};

const Entry& entry(const std::string& name) {
  for (const Entry& candidate : kBackends)
    if (candidate.name == name || name.empty()) return candidate;
  throw UsageError({"this build has no backend '" + name + "'", "backend", "use one of: " + joined(backend_names())});
}

}  // namespace

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  names.reserve(kBackends.size());
  for (const Entry& candidate : kBackends) names.emplace_back(candidate.name);
  return names;
}

std::vector<Dtype> backend_types(const std::string& name) { return entry(name).types(); }

std::unique_ptr<Backend> make_backend(const std::string& name, Dtype dtype, int threads, bool training) {
  return entry(name).make(dtype, threads, training);
}

}  // namespace packhorse

#include "step/optimizer.h"

#include <array>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace {

struct Row {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(const Graph& graph, const OptimizerOptions& options);
};

constexpr std::array kOptimizers = {
    Row{"sgd", make_sgd},
};

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  names.reserve(kOptimizers.size());
  for (const Row& row : kOptimizers) names.emplace_back(row.name);
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const Graph& graph,
                                          const OptimizerOptions& options) {
  for (const Row& row : kOptimizers) {
    if (name == row.name) return row.make(graph, options);
  }
  throw UsageError({"there is no optimizer '" + name + "'", "opt", "use one of: " + joined(optimizer_names())});
}

}  // namespace packhorse

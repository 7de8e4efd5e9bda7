#include "ops/optimizers.h"

#include "base/error.h"
#include "base/text.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

const std::vector<Optimizer>& optimizers() {
  static const std::vector<Optimizer> kOptimizers = {
      {"sgd", &kSgd, {"momentum"}},
  };
  return kOptimizers;
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const Optimizer& optimizer : optimizers()) names.push_back(optimizer.name);
  return names;
}

const Optimizer& optimizer_named(const std::string& name) {
  for (const Optimizer& optimizer : optimizers())
    if (optimizer.name == name) return optimizer;
  throw UsageError({"there is no optimizer '" + name + "'", "opt", "use one of: " + joined(optimizer_names())});
}

}  // namespace packhorse

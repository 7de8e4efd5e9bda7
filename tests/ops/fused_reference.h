// The reference, with all that lets values stay raw in front of it: rewrites and fusions as a GPU backend would list
// them. It fuses what that GPU's library has kernels for, then runs the bodies on plain loops.
#pragma once

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "ops/backends.h"
#include "ops/fusions.h"
#include "ops/raw_values.h"

namespace packhorse {

class FusedReference : public Backend {
 public:
  /// Without `runs_bodies` a program stays as it was fused: to be planned and checked, not to run.
  explicit FusedReference(bool runs_bodies = true) : runs_bodies_(runs_bodies) {}
  std::string name() const override { return "fused reference"; }
  std::vector<Rewrite> algebraic() const override { return {std::begin(kRawValues), std::end(kRawValues)}; }
  void rewrite(Program& program, Program& refresh) override {
    for (const Fusion fusion : kConvolutionFusions) fusion(program, *this);
    if (runs_bodies_) plain_->rewrite(program, refresh);
  }
  bool supported(const Program& program, const Node& node) const override {
    return is_fused(node) ? has_kernel(node) : plain_->supported(program, node);
  }
  uint64_t workspace(const Program& program, const Node& node) override { return plain_->workspace(program, node); }
  Run bind(const Site& site) override { return plain_->bind(site); }

 private:
  static bool is_fused(const Node& node) {
    return std::any_of(std::begin(kFusedKinds), std::end(kFusedKinds),
                       [&](const NodeKind* kind) { return node.is(*kind); });
  }
  // What such a library leaves out: windows larger than 3×3, sums in front of anything but 1×1, addends with a stride.
  static bool has_kernel(const Node& node) {
    const bool convolves = node.find("weight") != nullptr || node.find("weight_grad") != nullptr;
    return !convolves || (node.number("kernel") <= 3 && (node.find("sum") == nullptr || node.number("kernel") == 1) &&
                          (node.find("addend") == nullptr || node.number("stride") == 1));
  }

  std::unique_ptr<Backend> plain_ = make_backend("reference", {});
  bool runs_bodies_;
};

}  // namespace packhorse

// The table of optimizers: one row in optimizers.cc, a kind of node (nodes/sgd.cc) and a kernel of the same name in
// each backend.
//
// The node updates one parameter: it reads weight, gradient, finite, with loss scaling loss_scale, and its own states,
// by the name of each, and writes "new_weight" and
// "new_" of each state. A backend may fuse all of them. Parameters with `decay` false (batch norm, biases) are not
// decayed.
#pragma once

#include <string>
#include <vector>

#include "ops/program.h"

namespace packhorse {

struct Optimizer {
  std::string name;                 ///< for --opt
  const NodeKind* kind = nullptr;   ///< of the node that updates one parameter
  std::vector<std::string> states;  ///< its arrays, in the layout of the weights; a checkpoint holds them
};

std::vector<std::string> optimizer_names();

/// Throws a UsageError for an unknown name.
const Optimizer& optimizer_named(const std::string& name);

}  // namespace packhorse

// Copies of weights in another type or in another order of the elements, which a backend's nodes read instead of the
// weights themselves. They are states: a program that changes the weights writes them again at its end, and the program
// `refresh` writes them after weights were loaded.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "ops/program.h"

namespace packhorse {

struct WeightCopy {
  /// What sets it apart from other copies of the same weights: "bf16". Nodes of one layer share a copy by it.
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape{};                            ///< of the copy; its elements in the order of `layout`
  std::string layout{};                     ///< see Value
  uint64_t layout_bytes = 0;                ///< of a layout
  std::map<std::string, double> numbers{};  ///< of the node that makes it
};

/// Nothing if the node reads the weights as they are.
using CopyFor = std::function<std::optional<WeightCopy>(const Program& program, const Node& node)>;

/// Every node that reads weights gets its copy.
void copy_weights(Program& program, Program& refresh, const CopyFor& copy_for);

/// kCopy.
Node copy_node(const std::string& name, const Operand& src, const Operand& dst);

}  // namespace packhorse

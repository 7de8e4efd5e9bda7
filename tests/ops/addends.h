// A gradient node may add its result to the sum of the contributions before it. That sum may lie elsewhere or at the
// bytes of the result: tests of gradients run without it and with it at either place.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "ops/trial.h"

namespace packhorse {

enum class Addend { none, elsewhere, in_place };
inline constexpr std::array kAddends = {Addend::none, Addend::elsewhere, Addend::in_place};

inline std::ostream& operator<<(std::ostream& out, Addend addend) {
  return out << (addend == Addend::none        ? "no addend"
                 : addend == Addend::elsewhere ? "an addend elsewhere"
                                               : "an addend in place");
}

/// Where a gradient node writes, and what it reads as the sum before it.
struct Contribution {
  Contribution(Trial& t, const Operand& gradient, const Operand& other, Addend kind, const std::vector<double>& values)
      : has_addend(kind != Addend::none), result(gradient) {
    before.assign(values.size(), 0);
    if (!has_addend) return;
    before = values;
    addend = as(gradient.role + "_addend", kind == Addend::in_place ? gradient : other);
    if (kind == Addend::in_place) result = t.over(gradient, gradient.role);
    t.set(addend, before);
  }
  /// The node takes the addend, as Backward::contribute lets it.
  void read_in(Node& node) const {
    if (!has_addend) return;
    node.reads.push_back(addend);
  }
  /// The node writes the result, in place where that may be.
  void write_in(Node& node) const {
    node.writes.push_back(result);
    if (has_addend) node.in_place.push_back({result.role, addend.role});
  }

  bool has_addend;
  Operand addend, result;
  std::vector<double> before;  ///< zeros without an addend
};

}  // namespace packhorse

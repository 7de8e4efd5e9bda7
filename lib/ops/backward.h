// Appends the backward pass to a forward program: each node's gradient by its kind (NodeKind::backward), from the last
// node to the first.
//
// A value that several nodes read has a contribution from each; a later one reads the sum of the former ones as an
// addend. So the order of additions is the order of the program.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "ops/program.h"

namespace packhorse {

/// The state that holds the gradients of all weights, in their order.
inline constexpr const char* kGradients = "gradients";
inline constexpr const char* kWeights = "weights";

class Backward {
 public:
  explicit Backward(Program& program) : program_(program) {}
  void run();

  // What the kinds use.

  /// A node of pass backward with the name and numbers of `node`.
  Node begin(const NodeKind& kind, const Node& node) const;
  /// The gradient of a result of `node`, whole and final.
  Operand gradient_of(const Node& node, std::string_view role, std::string as_role) const;
  /// True if a gradient must flow to this operand.
  bool wants(const Node& node, std::string_view role) const;
  /// Lets `gradient` write the contribution to an operand of `node` as its result `result`; nothing happens if none is
  /// wanted. `dtype`: of the gradient, if it is not the value's.
  void contribute(Node& gradient, const std::string& result, const Node& node, std::string_view role, Dtype dtype);
  void contribute(Node& gradient, const std::string& result, const Node& node, std::string_view role);
  void append(Node node) { program_.nodes.push_back(std::move(node)); }

 private:
  using Range = std::tuple<int, int64_t, int64_t>;
  struct Contributions {
    int expected = 0, done = 0;
    Operand sum;  // of those done
  };
  void find_what_needs_gradients();
  bool flows_through(const Node& node) const;
  int gradient_value(int value, Dtype dtype);

  Program& program_;
  std::vector<bool> needs_;  // by value
  std::map<Range, Contributions> contributions_;
  std::map<int, int> gradient_;  // from a value to its gradient's
};

inline void add_backward(Program& program) { Backward(program).run(); }

}  // namespace packhorse

// What must come before what in a program.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/program.h"

namespace packhorse {

/// `to` may start only when `from` has ended. Numbers of nodes; from < to.
struct Edge {
  int from = 0, to = 0;
  bool operator==(const Edge&) const = default;
};

/// The order within each lane, and between lanes what the values demand: readers follow writers, and the writer of a
/// state's new version follows whoever read or wrote the old one.
std::vector<Edge> edges_of(const Program& program);

/// The edges and all that follows from them.
class Order {
 public:
  Order(size_t nodes, const std::vector<Edge>& edges);
  bool before(int a, int b) const { return (after(a)[static_cast<size_t>(b) / 64] >> (b % 64) & 1) != 0; }
  /// A bit for each node, in words of 64: those that come after `node`.
  const uint64_t* after(int node) const { return &after_[static_cast<size_t>(node) * words_]; }
  size_t words() const { return words_; }

 private:
  size_t words_;
  std::vector<uint64_t> after_;
};

}  // namespace packhorse

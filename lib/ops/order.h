// What must come before what, and the proof that a placed program is free of races.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/memory_plan.h"
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

/// Two steps of the program, one after the other on the same lanes: what the first leaves in a state, the second reads.
Program twice(const Program& program);

/// The places of twice(program), from those of the program.
MemoryPlan twice(const MemoryPlan& plan, const Program& program);

/// A line for every two nodes that touch the same bytes, one of them writing, where the order is not given or destroys
/// what somebody reads later. Empty: there is no race.
std::vector<std::string> races(const Program& program, const MemoryPlan& plan, const std::vector<Edge>& edges);

}  // namespace packhorse

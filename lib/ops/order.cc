#include "ops/order.h"

#include <algorithm>
#include <map>
#include <utility>

namespace packhorse {

namespace {

template <typename Visit>
void each_other_version(const Program& program, int value, const Visit& visit) {
  const Value& one = program.value(value);
  if (one.storage != Storage::state) return;
  for (size_t v = 0; v < program.values.size(); ++v)
    if (program.values[v].storage == Storage::state && program.values[v].state == one.state) visit(static_cast<int>(v));
}

}  // namespace

std::vector<Edge> edges_of(const Program& program) {
  std::vector<Edge> edges;
  std::map<Lane, int> last;
  std::vector<std::vector<std::pair<int, Operand>>> reads(program.values.size()), writes(program.values.size());
  const auto wait_for = [&](int node, const std::vector<std::pair<int, Operand>>& others, const Operand& touched) {
    for (const auto& [other, operand] : others) {
      const bool common =
          operand.first < touched.first + touched.count && touched.first < operand.first + operand.count;
      const bool other_lane =
          program.nodes[static_cast<size_t>(other)].lane != program.nodes[static_cast<size_t>(node)].lane;
      const Edge edge{other, node};
      if (common && other_lane && other < node && std::find(edges.begin(), edges.end(), edge) == edges.end())
        edges.push_back(edge);
    }
  };
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    const int number = static_cast<int>(n);
    if (const auto before = last.find(node.lane); before != last.end()) edges.push_back({before->second, number});
    last[node.lane] = number;
    for (const Operand& operand : node.reads) {
      wait_for(number, writes[static_cast<size_t>(operand.value)], operand);
      reads[static_cast<size_t>(operand.value)].emplace_back(number, operand);
    }
    for (const Operand& operand : node.writes) {
      each_other_version(program, operand.value, [&](int version) {
        wait_for(number, reads[static_cast<size_t>(version)], operand);
        wait_for(number, writes[static_cast<size_t>(version)], operand);
      });
      writes[static_cast<size_t>(operand.value)].emplace_back(number, operand);
    }
  }
  return edges;
}

Order::Order(size_t nodes, const std::vector<Edge>& edges)
    : words_((nodes + 63) / 64), after_(nodes * ((nodes + 63) / 64), 0) {
  std::vector<std::vector<int>> next(nodes);
  for (const Edge& edge : edges) next[static_cast<size_t>(edge.from)].push_back(edge.to);
  for (size_t n = nodes; n-- > 0;)
    for (const int to : next[n]) {
      uint64_t* mine = &after_[n * words_];
      mine[static_cast<size_t>(to) / 64] |= uint64_t{1} << (to % 64);
      for (size_t w = 0; w < words_; ++w) mine[w] |= after(to)[w];
    }
}

}  // namespace packhorse

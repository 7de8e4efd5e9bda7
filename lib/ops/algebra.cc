// The algebraic rewrites.
#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/nodes.h"
#include "ops/rewrites.h"

namespace packhorse {

namespace {

const Node& node(const Program& program, int number) { return program.nodes[static_cast<size_t>(number)]; }

// True for a 1×1 convolution whose result only nodes that can take a range of channels read.
bool may_be_sibling(const Program& program, const Node& conv) {
  if (!conv.is(kConvolution) || conv.number("kernel") != 1 || conv.number("stride") != 1) return false;
  const std::vector<int> readers = readers_of(program, conv.at("dst"));
  return std::all_of(readers.begin(), readers.end(), [&](int reader) {
    const NodeKind* kind = node(program, reader).kind;
    return kind == &kStatistics || kind == &kApply || kind == &kAveragePool;
  });
}

// The pool in front of a convolution that could as well come behind it; -1: none.
int movable_pool(const Program& program, const Node& conv) {
  const int number = writer_of(program, conv.at("src"));
  if (number < 0) return -1;
  const Node& pool = node(program, number);
  const bool keeps_size = pool.number("stride") == 1 && pool.number("kernel") == 2 * pool.number("pad") + 1;
  const bool only_reader = readers_of(program, conv.at("src")).size() == 1;
  return pool.is(kAveragePool) && keeps_size && only_reader ? number : -1;
}

// What a convolution would read if its pool came behind it.
Operand source_of(const Program& program, const Node& conv) {
  const int pool = movable_pool(program, conv);
  return pool < 0 ? conv.at("src") : node(program, pool).at("src");
}

// Runs of at least two siblings, each in the order of their weights; by the number of their first node.
std::vector<std::vector<int>> sibling_groups(const Program& program) {
  std::map<std::tuple<int, int64_t, int64_t>, std::vector<int>> by_source;
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& conv = program.nodes[n];
    if (!may_be_sibling(program, conv)) continue;
    const Operand source = source_of(program, conv);
    by_source[{source.value, source.first, source.count}].push_back(static_cast<int>(n));
  }
  std::vector<std::vector<int>> groups;
  for (auto& [source, convs] : by_source) {
    const auto weight = [&](int conv) { return node(program, conv).at("weight"); };
    std::sort(convs.begin(), convs.end(), [&](int a, int b) { return weight(a).first < weight(b).first; });
    for (size_t first = 0, last; first < convs.size(); first = last) {
      for (last = first + 1; last < convs.size(); ++last)
        if (weight(convs[last]).first != weight(convs[last - 1]).first + weight(convs[last - 1]).count) break;
      if (last - first > 1)
        groups.emplace_back(convs.begin() + static_cast<int64_t>(first), convs.begin() + static_cast<int64_t>(last));
    }
  }
  return groups;
}

}  // namespace

void move_average_pools(Program& program) {
  for (const std::vector<int>& group : sibling_groups(program))
    for (const int number : group) {
      const int pool_number = movable_pool(program, node(program, number));
      if (pool_number < 0) continue;
      Node &pool = program.nodes[static_cast<size_t>(pool_number)], &conv = program.nodes[static_cast<size_t>(number)];
      // The pool's value now is what the convolution gives, unpooled; whoever read the convolution reads the pool.
      const Operand pooled = conv.at("dst");
      Value unpooled = program.value(pooled);
      unpooled.name += " unpooled";
      const Operand between = program.whole(program.add(std::move(unpooled)));
      Node moved_conv = conv, moved_pool = pool;
      for (Operand& operand : moved_conv.reads)
        if (operand.role == "src") operand = pool.at("src");
      moved_conv.writes = {as("dst", between)};
      moved_pool.reads = {as("src", between)};
      moved_pool.writes = {pooled};
      pool = std::move(moved_conv);  // the convolution first
      conv = std::move(moved_pool);
    }
}

void merge_siblings(Program& program) {
  for (const std::vector<int>& group : sibling_groups(program)) {
    const bool one_source = std::all_of(group.begin(), group.end(), [&](int member) {
      return same(node(program, member).at("src"), node(program, group.front()).at("src"));
    });
    if (!one_source) continue;
    const int place = *std::min_element(group.begin(), group.end());
    Node merged = node(program, group.front());
    Operand weight = merged.at("weight");
    Value wide = program.value(merged.at("dst"));
    wide.shape.c = 0;
    merged.name += " + " + std::to_string(group.size() - 1) + (group.size() == 2 ? " sibling" : " siblings");
    weight.count = 0;
    for (const int member : group) {
      weight.count += node(program, member).at("weight").count;
      wide.shape.c += node(program, member).at("dst").count;
    }
    wide.name = merged.name;
    const Operand dst = program.whole(program.add(std::move(wide)), "dst");
    int64_t channel = 0;
    for (const int member : group) {
      const Operand narrow = node(program, member).at("dst");
      redirect(program, narrow.value, part(dst, channel, narrow.count));
      channel += narrow.count;
    }
    merged.reads = {node(program, group.front()).at("src"), weight};
    merged.writes = {dst};
    program.nodes[static_cast<size_t>(place)] = std::move(merged);
    std::vector<int> gone = group;
    std::sort(gone.rbegin(), gone.rend());
    for (const int member : gone)
      if (member != place) program.nodes.erase(program.nodes.begin() + member);
    merge_siblings(program);  // the numbers of the other groups have changed
    return;
  }
}

}  // namespace packhorse

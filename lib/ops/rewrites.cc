#include "ops/rewrites.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "ops/nodes.h"

namespace packhorse {

int writer_of(const Program& program, const Operand& operand) {
  for (size_t n = program.nodes.size(); n-- > 0;)
    for (const Operand& result : program.nodes[n].writes)
      if (overlap(result, operand)) return static_cast<int>(n);
  return -1;
}

std::vector<int> readers_of(const Program& program, const Operand& operand) {
  std::vector<int> readers;
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const std::vector<Operand>& reads = program.nodes[n].reads;
    if (std::any_of(reads.begin(), reads.end(), [&](const Operand& read) { return overlap(read, operand); }))
      readers.push_back(static_cast<int>(n));
  }
  return readers;
}

int only_reader(const Program& program, const Operand& operand) {
  if (program.value(operand).storage != Storage::slab || program.value(operand).output) return -1;
  const std::vector<int> readers = readers_of(program, operand);
  return readers.size() == 1 ? readers.front() : -1;
}

bool same(const Operand& a, const Operand& b) { return a.value == b.value && a.first == b.first && a.count == b.count; }

bool whole(const Program& program, const Operand& operand) {
  return operand.first == 0 && operand.count == program.value(operand).shape.c;
}

bool is(const Program& program, int number, const NodeKind& kind) {
  return number >= 0 && node_at(program, number).is(kind);
}

namespace {

bool names(const std::vector<Operand>& operands, int value) {
  return std::any_of(operands.begin(), operands.end(), [&](const Operand& operand) { return operand.value == value; });
}

// The nodes of the forward pass that write the value, if all of them are `apply`.
std::vector<Node> applies_that_write(const Program& program, int value) {
  std::vector<Node> applies;
  for (const Node& node : program.nodes) {
    if (!names(node.writes, value)) continue;
    if (!node.is(kApply)) return {};
    applies.push_back(node);
  }
  return applies;
}

}  // namespace

void recompute_applies(Program& program) {
  const auto values = static_cast<int>(program.values.size());
  for (int value = 0; value < values; ++value) {
    std::vector<Node> clones = applies_that_write(program, value);
    const auto reads_later = [&](const Node& node) { return node.pass != Pass::forward && names(node.reads, value); };
    const auto first_reader = std::find_if(program.nodes.begin(), program.nodes.end(), reads_later);
    if (clones.empty() || first_reader == program.nodes.end()) continue;
    Value again = program.value(value);
    again.name += " again";
    const int copy = program.add(std::move(again));
    const auto take_copy = [&](std::vector<Operand>& operands) {
      for (Operand& operand : operands)
        if (operand.value == value) operand.value = copy;
    };
    for (auto node = first_reader; node != program.nodes.end(); ++node) take_copy(node->reads);
    for (Node& clone : clones) {
      take_copy(clone.writes);
      clone.pass = Pass::backward;
      clone.in_place.clear();  // its source is still needed
    }
    program.nodes.insert(first_reader, clones.begin(), clones.end());
  }
}

namespace {

bool same_state(const Program& program, const Operand& a, const Operand& b) {
  const Value &x = program.value(a), &y = program.value(b);
  return x.storage == Storage::state && y.storage == Storage::state && x.state == y.state;
}

// True if `later` reads what `earlier` wrote, or writes a new version of what `earlier` touched.
bool must_follow(const Program& program, const Node& later, const Node& earlier) {
  const auto any = [](const std::vector<Operand>& list, const auto& test) {
    return std::any_of(list.begin(), list.end(), test);
  };
  const auto written_by_earlier = [&](const Operand& read) {
    return any(earlier.writes, [&](const Operand& result) { return overlap(result, read); });
  };
  const auto touched_by_earlier = [&](const Operand& result) {
    const auto old = [&](const Operand& operand) {
      return operand.value != result.value && same_state(program, operand, result);
    };
    return any(earlier.reads, old) || any(earlier.writes, old);
  };
  return any(later.reads, written_by_earlier) || any(later.writes, touched_by_earlier);
}

}  // namespace

void fuse(Program& program, const std::vector<int>& members, Node fused) {
  const std::set<int> inside(members.begin(), members.end());
  std::vector<Node> before, behind;
  for (int n = members.front(); n <= members.back(); ++n) {
    Node& node = program.nodes[static_cast<size_t>(n)];
    const auto follows = [&](const std::vector<Node>& others) {
      return std::any_of(others.begin(), others.end(),
                         [&](const Node& other) { return must_follow(program, node, other); });
    };
    if (inside.count(n) > 0) {
      if (follows(behind))
        throw Error({std::string("cannot fuse: ") + std::string(node.kind->name) + " " + node.name +
                         " needs a node that needs another one of those to be fused",
                     std::string(fused.kind->name) + " " + fused.name, ""});
      fused.body.push_back(std::move(node));
    } else {
      (follows(fused.body) || follows(behind) ? behind : before).push_back(std::move(node));
    }
  }
  auto place = program.nodes.begin() + members.front();
  place = std::move(before.begin(), before.end(), place);
  *place++ = std::move(fused);
  place = std::move(behind.begin(), behind.end(), place);
  program.nodes.erase(place, program.nodes.begin() + members.back() + 1);
}

void expand_bodies(Program& program) {
  std::vector<Node> plain;
  for (Node& node : program.nodes) {
    if (node.body.empty()) {
      plain.push_back(std::move(node));
    } else {
      std::move(node.body.begin(), node.body.end(), std::back_inserter(plain));
    }
  }
  program.nodes = std::move(plain);
}

}  // namespace packhorse

#include "ops/lanes.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

/// Nodes of a program by number.
using Numbers = std::set<int>;

// Nodes of the forward pass, and whom each one reads.
class Branches {
 public:
  explicit Branches(const Program& program) : program_(program), before_(program.nodes.size()) {
    std::vector<std::vector<std::pair<int, Operand>>> writers(program.values.size());
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      const Node& node = program.nodes[n];
      if (node.pass != Pass::forward) break;
      for (const Operand& read : node.reads)
        for (const auto& [writer, result] : writers[static_cast<size_t>(read.value)])
          if (overlap(result, read)) add(before_[n], writer);
      for (const Operand& result : node.writes)
        writers[static_cast<size_t>(result.value)].emplace_back(static_cast<int>(n), result);
    }
  }

  // By join: the last nodes of its branches. A join is a value that several nodes write, or a node that adds two.
  std::vector<std::vector<int>> joins() const {
    std::vector<std::vector<int>> all(program_.values.size());
    for (size_t n = 0; n < before_.size(); ++n) {
      const Node& node = program_.nodes[n];
      if (node.pass != Pass::forward) break;
      for (const Operand& result : node.writes)
        if (program_.value(result).storage == Storage::slab)
          all[static_cast<size_t>(result.value)].push_back(static_cast<int>(n));
      if (node.is(kAdd) || node.find("residual") != nullptr) all.push_back(activations_before(node));
    }
    std::erase_if(all, [](const std::vector<int>& ends) { return ends.size() < 2; });
    return all;
  }

  // What comes before the end of one branch, and of no other.
  Numbers only_before(int end, const std::vector<int>& ends) const {
    Numbers mine = all_before(end);
    for (const int other : ends)
      if (other != end)
        for (const int node : all_before(other)) mine.erase(node);
    return mine;
  }

  int64_t macs(const Numbers& nodes) const {
    int64_t sum = 0;
    for (const int node : nodes) sum += macs_of(program_, program_.nodes[static_cast<size_t>(node)]);
    return sum;
  }

 private:
  Numbers all_before(int end) const {
    Numbers found = {end};
    for (auto n = found.rbegin(); n != found.rend(); ++n)
      found.insert(before_[static_cast<size_t>(*n)].begin(), before_[static_cast<size_t>(*n)].end());
    return found;
  }

  std::vector<int> activations_before(const Node& sum) const {
    std::vector<int> ends;
    for (const int n : before_[static_cast<size_t>(&sum - program_.nodes.data())])
      if (std::any_of(program_.nodes[static_cast<size_t>(n)].writes.begin(),
                      program_.nodes[static_cast<size_t>(n)].writes.end(),
                      [&](const Operand& result) { return program_.shape(result).pixels() > 1; }))
        ends.push_back(n);
    return ends;
  }

  static void add(std::vector<int>& list, int node) {
    if (std::find(list.begin(), list.end(), node) == list.end()) list.push_back(node);
  }

  const Program& program_;
  std::vector<std::vector<int>> before_;  // by node: the writers of what it reads
};

// Names of the layers whose nodes run beside the main lane.
std::set<std::string> second_branches(const Program& program) {
  const Branches branches(program);
  std::set<std::string> names;
  for (const std::vector<int>& ends : branches.joins()) {
    std::vector<std::pair<int64_t, Numbers>> by_work;
    for (const int end : ends) {
      Numbers nodes = branches.only_before(end, ends);
      const int64_t work = branches.macs(nodes);
      if (work > 0) by_work.emplace_back(work, std::move(nodes));
    }
    if (by_work.size() < 2) continue;
    std::stable_sort(by_work.begin(), by_work.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const int node : by_work[1].second) names.insert(program.nodes[static_cast<size_t>(node)].name);
  }
  return names;
}

bool writes_only_gradients_of_weights(const Program& program, const Node& node) {
  const auto gradient = [&](const Operand& result) { return program.value(result).state == kGradients; };
  return !node.writes.empty() && std::all_of(node.writes.begin(), node.writes.end(), gradient);
}

}  // namespace

void assign_lanes(Program& program, bool side_lane) {
  const std::set<std::string> beside = side_lane ? second_branches(program) : std::set<std::string>{};
  for (Node& node : program.nodes) {
    const bool side = side_lane && node.pass != Pass::update &&
                      (writes_only_gradients_of_weights(program, node) || beside.count(node.name) > 0);
    node.lane = node.is(kSum) ? Lane::sums : side ? Lane::side : Lane::main;
  }
}

LaneStreams::LaneStreams(Device& device, bool beside, Allreduce* sums) : sums_(sums) {
  for (const Lane lane : {Lane::main, Lane::side, Lane::sums, Lane::copies}) {
    const auto number = static_cast<size_t>(lane);
    if (lane == Lane::sums && sums != nullptr) {
      streams_[number] = &sums->stream();
      continue;
    }
    owned_[number] = device.make_stream(beside);
    streams_[number] = owned_[number].get();
  }
}

}  // namespace packhorse

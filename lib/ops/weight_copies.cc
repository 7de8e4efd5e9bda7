#include "ops/weight_copies.h"

#include <algorithm>
#include <utility>

#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

Node copy_node(const std::string& name, const Operand& src, const Operand& dst) {
  return {.kind = &kCopy, .name = name, .reads = {as("src", src)}, .writes = {as("dst", dst)}, .pass = Pass::update};
}

namespace {

int weights_of(Program& refresh, const Value& weights) {
  const int known = refresh.first_version(kWeights);
  return known >= 0 ? known : refresh.add(weights);
}

// Lets a node read a copy of its weights instead of the weights themselves.
void read_copy(Program& program, Program& refresh, Node& node, const WeightCopy& wanted) {
  Operand& weight = *std::find_if(node.reads.begin(), node.reads.end(),
                                  [](const Operand& operand) { return operand.role == "weight"; });
  const Operand master = weight;
  const int old_weights = program.first_version(kWeights), new_weights = program.last_version(kWeights);
  Value copy{.name = node.name + "@" + wanted.name,
             .shape = wanted.shape,
             .dtype = wanted.dtype,
             .storage = Storage::state,
             .state = node.name + "@" + wanted.name,
             .layout = wanted.layout,
             .layout_bytes = wanted.layout_bytes};
  const auto append = [&](Program& to, const Operand& src, const Operand& dst) {
    Node made = copy_node(copy.state, src, dst);
    made.numbers = wanted.numbers;
    to.nodes.push_back(std::move(made));
  };
  int number = program.first_version(copy.state);
  if (number < 0) {
    number = program.add(copy);
    if (new_weights != old_weights) {
      const Operand updated{"src", new_weights, master.first, master.count};
      const int next = program.next_version(copy.state);
      append(program, updated, program.whole(next));
    }
  }
  if (refresh.first_version(copy.state) < 0) {
    const int weights = weights_of(refresh, program.value(old_weights));
    const int made = refresh.add(copy);
    append(refresh, {"src", weights, master.first, master.count}, refresh.whole(made));
  }
  weight = program.whole(number, "weight");
}

bool reads_master(const Program& program, const Node& node) {
  const Operand* weight = node.find("weight");
  return weight != nullptr && program.value(*weight).state == kWeights;
}

}  // namespace

void copy_weights(Program& program, Program& refresh, const CopyFor& copy_for) {
  const size_t before = program.nodes.size();  // what is appended are copies
  for (size_t n = 0; n < before; ++n) {
    Node node = program.nodes[n];  // a copy: the list grows
    // An optimizer reads and writes the weights themselves.
    if (node.find("new_weight") != nullptr || !reads_master(program, node)) continue;
    const std::optional<WeightCopy> copy = copy_for(program, node);
    if (!copy) continue;
    read_copy(program, refresh, node, *copy);
    program.nodes[n] = std::move(node);
  }
}

}  // namespace packhorse

#include "ops/compile.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "ops/lanes.h"
#include "ops/races.h"

namespace packhorse {

namespace {

constexpr const char* kWorkspace = "workspace";

void add_workspaces(Program& program, Backend& backend) {
  for (Node& node : program.nodes) {
    if (node.lane == Lane::sums) continue;  // the lane itself runs them
    if (!backend.supported(program, node)) refuse_node(backend, node);
    const uint64_t bytes = backend.workspace(program, node);
    if (bytes == 0) continue;
    const int value =
        program.add({.name = std::string(kWorkspace) + " of " + std::string(node.kind->name) + " " + node.name,
                     .shape = {1, 1, 1, static_cast<int64_t>(bytes)},
                     .dtype = Dtype::u8});
    node.writes.push_back(program.whole(value, kWorkspace));
  }
}

std::vector<bool> workspace_values(const Program& program) {
  std::vector<bool> found(program.values.size());
  for (const Node& node : program.nodes)
    if (const Operand* workspace = node.find(kWorkspace)) found[static_cast<size_t>(workspace->value)] = true;
  return found;
}

// In two steps one after the other: what holds in them holds in any number.
void refuse_races(const CompiledProgram& compiled) {
  const Program two = twice(compiled.program);
  const std::vector<std::string> found = races(two, twice(compiled.plan, compiled.program), edges_of(two));
  if (!found.empty()) throw Error({found.front(), compiled.program.name, ""});
}

}  // namespace

CompiledProgram compile(Program program, Backend& backend, Program& refresh, bool side_lane) {
  backend.rewrite(program, refresh);
  assign_lanes(program, side_lane);
  add_workspaces(program, backend);
  remove_unused_values(program);
  verify(program);
  CompiledProgram compiled;
  compiled.program = std::move(program);
  compiled.edges = edges_of(compiled.program);
  const Order order(compiled.program.nodes.size(), compiled.edges);
  compiled.plan = plan_memory(compiled.program, order);
  const std::vector<bool> workspaces = workspace_values(compiled.program);
  const MemoryPlan bare =
      plan_memory(compiled.program, order, [&](int value) { return !workspaces[static_cast<size_t>(value)]; });
  compiled.workspace_bytes = compiled.plan.bytes > bare.bytes ? compiled.plan.bytes - bare.bytes : 0;
  compiled.plan.unplanned_bytes = bare.unplanned_bytes;
  refuse_races(compiled);
  return compiled;
}

}  // namespace packhorse

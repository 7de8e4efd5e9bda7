// From a plain program to one that can be bound: a backend's rewrites, lanes, workspaces, the memory plan.
#pragma once

#include <vector>

#include "ops/backend.h"
#include "ops/memory_plan.h"
#include "ops/order.h"
#include "ops/program.h"

namespace packhorse {

struct CompiledProgram {
  Program program;
  std::vector<Edge> edges;
  MemoryPlan plan;
  uint64_t workspace_bytes = 0;  ///< how many of the plan's bytes only workspaces need
};

/// `refresh`: takes the nodes that copy weights. `side_lane`: lanes.h. Throws an Error if the backend cannot run a
/// node, or if the plan has a race.
CompiledProgram compile(Program program, Backend& backend, Program& refresh, bool side_lane = false);

}  // namespace packhorse

// The proof that a program in its memory is free of races.
#pragma once

#include <string>
#include <vector>

#include "ops/memory_plan.h"
#include "ops/order.h"
#include "ops/program.h"

namespace packhorse {

/// Two steps of the program, one after the other on the same lanes: what the first leaves in a state, the second reads.
Program twice(const Program& program);

/// The places of twice(program), from those of the program.
MemoryPlan twice(const MemoryPlan& plan, const Program& program);

/// A line for every two nodes that touch the same bytes, one of them writing, where the order is not given or destroys
/// what somebody reads later. Empty: there is no race.
std::vector<std::string> races(const Program& program, const MemoryPlan& plan, const std::vector<Edge>& edges);

}  // namespace packhorse

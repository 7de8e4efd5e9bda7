// Gives every value of a program its place in one slab, before the first step.
//
// Rule: two values share bytes only if whoever touches the one is ordered before whoever touches the other already. The
// plan adds no order of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ops/program.h"

namespace packhorse {

class Order;

struct MemoryPlan {
  std::vector<int64_t> offset;   ///< by value: where it begins in the slab; -1 if it is not there
  std::vector<int> shares_with;  ///< by value: the first value at the same place (in place), often itself; -1 as above
  uint64_t bytes = 0;
  uint64_t unplanned_bytes = 0;  ///< the same if every value had bytes of its own
};

/// Values (by number) for which `counted` is false take no bytes (to ask what the others need).
MemoryPlan plan_memory(const Program& program, const Order& order, const std::function<bool(int)>& counted = nullptr);

/// A block of memory to be placed.
struct Block {
  uint64_t bytes = 0, alignment = 64;
  uint64_t offset = 0;
};

/// Gives each block, the largest first, the lowest offset at which it shares no byte with a block that `conflict`
/// names. Returns the bytes needed.
uint64_t place(std::vector<Block>& blocks, const std::function<bool(size_t, size_t)>& conflict);

}  // namespace packhorse

// Values of the same time share no byte, and the plan wastes little.
#include "ops/memory_plan.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/philox.h"
#include "ops/compile.h"
#include "ops/executor.h"
#include "ops/networks.h"

namespace packhorse {
namespace {

struct Lifetime {
  uint32_t first = 0, last = 0;
};

bool both_live(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

TEST(MemoryPlan, PlacesRandomBlocksWithoutOverlap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, RandomUse::test, 0, 0);
    std::vector<Block> blocks;
    std::vector<Lifetime> lives;
    for (int i = 0; i < 40; ++i) {
      const uint32_t first = random.below(30);
      lives.push_back({first, first + random.below(10)});
      blocks.push_back({.bytes = 1 + random.below(100'000), .alignment = random.below(2) == 0 ? 64u : 4096u});
    }
    const uint64_t bytes = place(blocks, [&](size_t a, size_t b) { return both_live(lives[a], lives[b]); });
    for (size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_LE(blocks[i].offset + blocks[i].bytes, bytes);
      EXPECT_EQ(blocks[i].offset % blocks[i].alignment, 0u);
      for (size_t j = 0; j < i; ++j)
        EXPECT_FALSE(both_live(lives[i], lives[j]) && blocks[i].offset < blocks[j].offset + blocks[j].bytes &&
                     blocks[j].offset < blocks[i].offset + blocks[i].bytes);
    }
  }
}

TEST(MemoryPlan, SharesBytesOverTime) {
  std::vector<Block> blocks(10, Block{.bytes = 640});
  // Each is there together with its neighbours only.
  const auto neighbours = [](size_t a, size_t b) { return a + 1 >= b && b + 1 >= a; };
  EXPECT_EQ(place(blocks, neighbours), 2 * 640u);
}

TEST(MemoryPlan, EveryNetworkIsMuchSmallerThanItsValues) {
  for (const std::string& name : network_names()) {
    const Graph graph = make_network(name, name == "inception-bn-small" ? 28 : 224, 10);
    ExecutorOptions options;
    options.batch = 4;
    const MemoryReport kept = memory_report(plan_step(graph, options), "sgd");
    EXPECT_LT(kept.activations, kept.activations_unplanned * 6 / 10) << name;
    options.recompute = true;
    const MemoryReport recomputed = memory_report(plan_step(graph, options), "sgd");
    EXPECT_LT(recomputed.activations, kept.activations * 9 / 10) << name;
  }
}

// The largest values that must exist at one time are a lower bound: the input of a node, its result, and what backward
// still reads.
TEST(MemoryPlan, IsNotFarFromWhatMustExistAtOneTime) {
  for (const std::string& name : network_names()) {
    const CompiledProgram c = plan_step(small_form(name), {.backend = "cpu", .batch = 4});
    // On the main lane the order is total: a value lives from its first to its last node.
    std::vector<uint64_t> live(c.program.nodes.size(), 0);
    std::vector<int> first(c.program.values.size(), -1), last(c.program.values.size(), -1);
    for (size_t n = 0; n < c.program.nodes.size(); ++n)
      for (const auto* side : {&c.program.nodes[n].reads, &c.program.nodes[n].writes})
        for (const Operand& operand : *side) {
          const int place = c.plan.shares_with[static_cast<size_t>(operand.value)];
          if (place < 0) continue;
          if (first[static_cast<size_t>(place)] < 0) first[static_cast<size_t>(place)] = static_cast<int>(n);
          last[static_cast<size_t>(place)] = static_cast<int>(n);
        }
    for (size_t v = 0; v < first.size(); ++v)
      for (int n = first[v]; n >= 0 && n <= last[v]; ++n) live[static_cast<size_t>(n)] += c.program.values[v].bytes();
    const uint64_t bound = *std::max_element(live.begin(), live.end());
    EXPECT_GE(c.plan.bytes, bound) << name;
    EXPECT_LE(c.plan.bytes, bound * 11 / 10) << name;
  }
}

}  // namespace
}  // namespace packhorse

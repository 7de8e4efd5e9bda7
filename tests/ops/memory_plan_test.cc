// Buffers with overlapping lifetimes share no byte, the plan wastes little, and it keeps what backward needs.
#include "ops/memory_plan.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/philox.h"
#include "net/graph.h"

namespace packhorse {
namespace {

bool lifetimes_overlap(const PlannedBuffer& a, const PlannedBuffer& b) {
  for (const Lifetime& x : a.lifetimes)
    for (const Lifetime& y : b.lifetimes)
      if (std::max(x.first, y.first) <= std::min(x.last, y.last)) return true;
  return false;
}

bool bytes_overlap(const PlannedBuffer& a, const PlannedBuffer& b) {
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

void expect_sound(const std::vector<PlannedBuffer>& buffers, uint64_t bytes) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_LE(buffers[i].offset + buffers[i].bytes, bytes) << buffers[i].name;
    for (size_t j = 0; j < i; ++j)
      EXPECT_FALSE(lifetimes_overlap(buffers[i], buffers[j]) && bytes_overlap(buffers[i], buffers[j]))
          << buffers[i].name << " and " << buffers[j].name;
  }
}

TEST(MemoryPlan, PlacesRandomBuffersWithoutOverlap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, RandomUse::test, 0, 0);
    std::vector<PlannedBuffer> buffers;
    for (int i = 0; i < 40; ++i) {
      std::vector<Lifetime> lifetimes;
      for (uint32_t lifetime = 0; lifetime <= random.below(2); ++lifetime) {
        const int first = static_cast<int>(random.below(30)), length = static_cast<int>(random.below(10));
        lifetimes.push_back({.first = first, .last = first + length});
      }
      buffers.push_back({.name = std::to_string(i), .bytes = 1 + random.below(100'000), .lifetimes = lifetimes});
    }
    const uint64_t bytes = place(buffers, 64);
    expect_sound(buffers, bytes);
    for (const PlannedBuffer& buffer : buffers) EXPECT_EQ(buffer.offset % 64, 0u);
  }
}

TEST(MemoryPlan, SharesBytesOverTime) {
  std::vector<PlannedBuffer> buffers;
  buffers.reserve(10);
  for (int i = 0; i < 10; ++i) buffers.push_back({.name = "", .bytes = 640, .lifetimes = {{i, i + 1}}});
  EXPECT_EQ(place(buffers, 64), 2 * 640u);  // each overlaps with its neighbours only
}

TEST(MemoryPlan, EveryNetworkIsSoundAndSmaller) {
  for (const std::string& name : network_names())
    for (const bool merge : {false, true})
      for (const bool recompute : {false, true}) {
        const Graph graph = make_network(name, name == "inception-bn-small" ? 28 : 224, 10);
        const Schedule schedule = make_schedule(graph, merge);
        const PlanOptions options{.batch = 2, .dtype = Dtype::bf16, .training = true, .recompute = recompute};
        const MemoryPlan plan = plan_memory(schedule, options);
        expect_sound(plan.buffers, plan.bytes);
        EXPECT_LT(plan.bytes, plan.unplanned_bytes * 6 / 10) << name;
        if (recompute) {
          const MemoryPlan kept = plan_memory(schedule, {.batch = 2, .dtype = Dtype::bf16});
          EXPECT_LT(plan.bytes, kept.bytes * 9 / 10) << name;
        }
        const MemoryPlan forward = plan_memory(schedule, {.batch = 2, .dtype = Dtype::bf16, .training = false});
        expect_sound(forward.buffers, forward.bytes);
        EXPECT_LT(forward.bytes, plan.bytes / 2) << name;
      }
}

// The lifetime of every buffer that backward reads must include that time.
TEST(MemoryPlan, KeepsWhatBackwardReads) {
  const Graph graph = make_network("inception-bn-small", 28, 10);
  const Schedule schedule = make_schedule(graph, true);
  const auto tasks = static_cast<int>(schedule.tasks.size());
  for (const bool recompute : {false, true}) {
    const MemoryPlan plan = plan_memory(schedule, {.batch = 1, .dtype = Dtype::f32, .recompute = recompute});
    for (int t = 0; t < tasks; ++t) {
      const Task& task = schedule.tasks[static_cast<size_t>(t)];
      if (task.kind != NodeKind::convolution && task.kind != NodeKind::batch_norm) continue;
      const int time = 2 * tasks + 1 - t;
      const int tensor_buffer = schedule.tensors[static_cast<size_t>(task.src.front())].buffer;
      const auto buffer = static_cast<size_t>(plan.activation[static_cast<size_t>(tensor_buffer)]);
      const auto& lifetimes = plan.buffers[buffer].lifetimes;
      EXPECT_TRUE(std::any_of(lifetimes.begin(), lifetimes.end(), [&](const Lifetime& lifetime) {
        return lifetime.first <= time && time <= lifetime.last;
      })) << task.name;
    }
  }
}

TEST(Schedule, MergesSiblingsAndWritesConcatsInPlace) {
  const Graph graph = make_network("inception-bn-21k", 224, 10);
  const Schedule merged = make_schedule(graph, true), plain = make_schedule(graph, false);
  const auto convolutions = [](const Schedule& schedule) {
    return std::count_if(schedule.tasks.begin(), schedule.tasks.end(),
                         [](const Task& task) { return task.kind == NodeKind::convolution; });
  };
  // Seven blocks merge four siblings into one. 5b merges only three, because a max pool cannot move behind its
  // convolution, and two blocks merge two.
  EXPECT_EQ(convolutions(plain), 69);
  EXPECT_EQ(convolutions(merged), 69 - 7 * 3 - 2 - 2);
  for (const Task& task : merged.tasks) {
    EXPECT_NE(task.kind, NodeKind::concat);
    if (task.name != "3a/pool") continue;
    EXPECT_EQ(merged.tensors[static_cast<size_t>(task.dst)].shape.c, 48);  // not 288: it is behind the convolution
  }
}

}  // namespace
}  // namespace packhorse

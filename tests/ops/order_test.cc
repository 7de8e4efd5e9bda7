// The order of a program and its memory: no two nodes touch the same bytes in an order that is not given, for every
// network and memory mode, into the next step too; and the check sees what is broken on purpose.
#include "ops/order.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/backends.h"
#include "ops/backward.h"
#include "ops/compile.h"
#include "ops/networks.h"
#include "ops/nodes.h"
#include "ops/races.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

CompiledProgram compiled_step(const Graph& graph, const BackendCase& c, bool merge, bool recompute,
                              bool side_lane = false) {
  const auto backend = make_backend(c.backend, {.dtype = c.dtype});
  Program refresh;
  const std::vector<Rewrite> algebraic = merge ? backend->algebraic() : std::vector<Rewrite>{};
  StepOptions options = step_of(2, c.dtype, recompute);
  options.bucket_bytes = 1 << 16;  // several buckets in a small network
  return compile(training_step(graph, options, algebraic), *backend, refresh, side_lane);
}

std::vector<std::string> races_of(const CompiledProgram& c) { return races(c.program, c.plan, c.edges); }

class Order : public testing::TestWithParam<BackendCase> {};

// compile() has searched two steps in a row already, and would have thrown.
TEST_P(Order, EveryNetworkAndMemoryModeIsFreeOfRaces) {
  for (const std::string& name : network_names())
    for (const bool merge : {false, true})
      for (const bool recompute : {false, true})
        for (const bool side_lane : {false, true}) {
          const CompiledProgram c = compiled_step(small_form(name), GetParam(), merge, recompute, side_lane);
          EXPECT_EQ(races_of(c), std::vector<std::string>{})
              << name << " merge " << merge << " recompute " << recompute << " side lane " << side_lane;
        }
}

TEST_P(Order, InferenceIsFreeOfRacesAndSmaller) {
  for (const std::string& name : network_names()) {
    const auto backend = make_backend(GetParam().backend, {.dtype = GetParam().dtype});
    Program refresh;
    const Graph graph = small_form(name);
    const CompiledProgram c = compile(
        inference_program(graph, step_of(2, GetParam().dtype).forward, backend->algebraic()), *backend, refresh);
    EXPECT_EQ(races_of(c), std::vector<std::string>{}) << name;
    EXPECT_LT(c.plan.bytes, compiled_step(graph, GetParam(), true, false).plan.bytes / 2) << name;
  }
}

// Without an edge between lanes that nothing else implies, two nodes meet at the same bytes.
TEST_P(Order, ABrokenEdgeIsSeen) {
  const CompiledProgram c = compiled_step(small_form("inception-bn-small"), GetParam(), true, false, true);
  const Program two = twice(c.program);
  const MemoryPlan plan = twice(c.plan, c.program);
  const std::vector<Edge> edges = edges_of(two);
  int broken = 0;
  for (size_t e = 0; e < edges.size(); ++e) {
    const auto lane = [&](int node) { return two.nodes[static_cast<size_t>(node)].lane; };
    if (lane(edges[e].from) == lane(edges[e].to)) continue;
    std::vector<Edge> others = edges;
    others.erase(others.begin() + static_cast<int64_t>(e));
    if (packhorse::Order(two.nodes.size(), others).before(edges[e].from, edges[e].to)) continue;
    ++broken;
    EXPECT_FALSE(races(two, plan, others).empty()) << two.nodes[static_cast<size_t>(edges[e].from)].name << " -> "
                                                   << two.nodes[static_cast<size_t>(edges[e].to)].name;
  }
  EXPECT_GE(broken, 10);  // buckets begin after their writers, the update after the buckets, in both steps
}

// A value that is moved onto another one of the same time is seen.
TEST_P(Order, AWrongPlaceIsSeen) {
  const CompiledProgram c = compiled_step(small_network(), GetParam(), true, false);
  int moved = 0;
  for (const Node& node : c.program.nodes) {
    const auto slab = [&](const Operand& operand) { return c.program.value(operand).storage == Storage::slab; };
    if (node.reads.empty() || node.writes.empty() || !slab(node.reads[0]) || !slab(node.writes[0])) continue;
    MemoryPlan wrong = c.plan;
    const auto from = static_cast<size_t>(node.reads[0].value), to = static_cast<size_t>(node.writes[0].value);
    if (wrong.shares_with[from] == wrong.shares_with[to]) continue;  // in place, by permission
    if (std::any_of(node.in_place.begin(), node.in_place.end(),
                    [&](const InPlace& permission) { return permission.operand == node.reads[0].role; }))
      continue;
    wrong.offset[to] = wrong.offset[from];
    ++moved;
    EXPECT_FALSE(races(c.program, wrong, c.edges).empty()) << node.kind->name << " " << node.name;
  }
  EXPECT_GE(moved, 10);
}

// A node may write over what it reads only if it says so, and only if nobody reads it later.
TEST(InPlace, IsAPermission) {
  const auto places = [](bool permitted, bool read_later) {
    Program program{.name = "in place"};
    const auto value = [&](const char* name, Storage storage) {
      return program.whole(program.add({.name = name, .shape = {1, 1, 1, 64}, .storage = storage}));
    };
    const Operand in = value("in", Storage::input), a = value("a", Storage::slab), b = value("b", Storage::slab),
                  c = value("c", Storage::slab);
    const auto add = [&](const Operand& x, const Operand& dst) {
      program.nodes.push_back(
          {.kind = &kAdd, .name = "n", .reads = {as("a", x), as("b", in)}, .writes = {as("dst", dst)}});
    };
    add(in, a);
    add(a, b);
    if (permitted) program.nodes.back().in_place = {{"dst", "a"}};
    add(read_later ? a : b, c);
    const packhorse::Order order(program.nodes.size(), edges_of(program));
    const MemoryPlan plan = plan_memory(program, order);
    return plan.offset[static_cast<size_t>(a.value)] == plan.offset[static_cast<size_t>(b.value)];
  };
  EXPECT_TRUE(places(true, false));
  EXPECT_FALSE(places(false, false));
  EXPECT_FALSE(places(true, true));
}

TEST(Twice, AStatesLastVersionIsTheNextStepsFirst) {
  const CompiledProgram c = compiled_step(small_network(), {"reference"}, false, false);
  const Program two = twice(c.program);
  const int last = c.program.last_version(kWeights);
  const auto second = std::find_if(two.nodes.begin() + static_cast<int64_t>(c.program.nodes.size()), two.nodes.end(),
                                   [](const Node& node) { return node.is(kConvolution); });
  ASSERT_NE(second, two.nodes.end());
  EXPECT_EQ(second->at("weight").value, last);
  EXPECT_NO_THROW(verify(two));
}

INSTANTIATE_TEST_SUITE_P(Backends, Order, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

// Whole steps on the toy, in many orders: the bits are those of the reference, which runs one node after the other.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/networks.h"
#include "ops/toy_training.h"

namespace packhorse {
namespace {

void expect_the_bits_of_the_reference(const Graph& graph, bool recompute, uint64_t orders) {
  const std::vector<std::byte> right = toy::truth(graph, recompute);
  for (uint64_t seed = 0; seed < orders; ++seed) {
    toy::ToyDevice device(seed);
    toy::ToyBackend backend(make_backend("reference", {}), device, true);
    toy::Training training(graph, backend, toy::training_step_of(graph, backend, recompute, true));
    EXPECT_TRUE(training.run() == right) << graph.name << " in order " << seed << ", recompute " << recompute;
  }
}

TEST(ToyOrders, AnyGivesTheBitsOfTheReference) {
  for (const bool recompute : {false, true}) {
    expect_the_bits_of_the_reference(small_network(), recompute, 10);
    expect_the_bits_of_the_reference(make_network("inception-bn-small", 16, 10), recompute, 3);
  }
}

}  // namespace
}  // namespace packhorse

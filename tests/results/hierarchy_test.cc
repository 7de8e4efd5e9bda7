#include "results/hierarchy.h"

#include <gtest/gtest.h>

namespace packhorse::test {
namespace {

/// T-shirt lies under shirt; both under garment, the dress too; the bag does not.
const ClassTable kTable(
    {{"n03595614", "jersey, T-shirt"}, {"n04197391", "shirt"}, {"n03236735", "dress"}, {"n02774152", "bag, handbag"}});

TEST(Hierarchy, CountsAncestorsAndDescendantsAsRelated) {
  AccuracyCounters counters{ClassSet(4)};
  const auto see = [&](uint32_t label, uint32_t predicted) {
    std::vector<float> logits(4, 0);
    logits[predicted] = 1;
    counters.add(logits, label);
  };
  see(0, 0);  // right
  see(0, 1);  // T-shirt taken for shirt: above
  see(1, 0);  // shirt taken for T-shirt: below
  see(0, 2);  // T-shirt taken for a dress: a cousin, wrong
  see(3, 1);  // wrong
  EXPECT_EQ(hierarchical_accuracy(counters, kTable), 0.6);
  EXPECT_LT(hierarchical_accuracy(counters, ClassTable({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}})), 0);
}

}  // namespace
}  // namespace packhorse::test

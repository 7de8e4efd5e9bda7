#include "results/hierarchy.h"

#include <gtest/gtest.h>

namespace packhorse::test {
namespace {

/// In WordNet, T-shirt is under shirt; both and dress are under garment; bag is not.
const ClassTable kTable(
    {{"n03595614", "jersey, T-shirt"}, {"n04197391", "shirt"}, {"n03236735", "dress"}, {"n02774152", "bag, handbag"}});

TEST(Hierarchy, AncestorsAndDescendantsCountAsRight) {
  AccuracyCounters counters{ClassSet(4)};
  const auto add = [&](uint32_t label, uint32_t predicted) {
    std::vector<float> logits(4, 0);
    logits[predicted] = 1;
    counters.add(logits, label);
  };
  add(0, 0);  // right
  add(0, 1);  // T-shirt predicted as shirt: an ancestor
  add(1, 0);  // shirt predicted as T-shirt: a descendant
  add(0, 2);  // T-shirt predicted as dress: only a common ancestor, wrong
  add(3, 1);  // wrong
  EXPECT_EQ(hierarchical_accuracy(counters, kTable), 0.6);
  EXPECT_LT(hierarchical_accuracy(counters, ClassTable({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}})), 0);
}

}  // namespace
}  // namespace packhorse::test

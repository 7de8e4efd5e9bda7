#include "step/optimizer.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"

namespace packhorse {
namespace {

/// Three parameters: the first is longer than one piece of the optimizer, the second has no decay.
Graph small_graph() {
  Graph graph;
  const size_t counts[] = {40001, 17, 1000};
  for (int i = 0; i < 3; ++i) {
    Parameter parameter;
    parameter.name = "p" + std::to_string(i);
    parameter.offset = graph.parameter_count;
    parameter.count = counts[i];
    parameter.decay = i != 1;
    graph.parameter_count += parameter.count;
    graph.parameters.push_back(parameter);
  }
  return graph;
}

TEST(Optimizer, MatchesPlainLoops) {
  const Graph graph = small_graph();
  constexpr float kMomentum = 0.9f, kDecay = 0.01f;
  std::vector<float> w(graph.parameter_count), g(w.size());
  RandomStream random(1, RandomUse::test, 0, 0);
  for (float& value : w) value = random.normal();
  std::vector<double> w_truth(w.begin(), w.end()), v_truth(w.size(), 0.0);
  const auto optimizer = make_optimizer("sgd", graph, {kMomentum, kDecay, 2});
  for (int step = 0; step < 10; ++step) {
    const double learning_rate = 0.1 / (step + 1);
    double squares = 0;
    for (size_t i = 0; i < g.size(); ++i) {
      g[i] = random.normal();
      squares += static_cast<double>(g[i]) * g[i];
      const bool decays = i < 40001 || i >= 40018;
      v_truth[i] = kMomentum * v_truth[i] + (g[i] + (decays ? kDecay * w_truth[i] : 0));
      w_truth[i] -= learning_rate * v_truth[i];
    }
    const double found = optimizer->step(w, g, learning_rate);
    // Sums of 16,384 squares in f32, with one rounding each at worst.
    EXPECT_NEAR(found, squares, squares * 16384 * 0.5 * std::numeric_limits<float>::epsilon());
  }
  // Each step rounds values below 16 about five times: 10 steps of 5 roundings, each half a unit of 16.
  const double tolerance = 10 * 5 * 8 * std::numeric_limits<float>::epsilon();
  for (size_t i = 0; i < w.size(); ++i) {
    ASSERT_NEAR(w[i], w_truth[i], tolerance) << i;
    ASSERT_NEAR(optimizer->momentum()[i], v_truth[i], tolerance) << i;
  }
}

TEST(Optimizer, ThreadsDoNotChangeABit) {
  const Graph graph = small_graph();
  std::vector<std::vector<float>> results;
  std::vector<double> norms;
  for (const int threads : {1, 2, 3}) {
    std::vector<float> w(graph.parameter_count), g(w.size());
    RandomStream random(1, RandomUse::test, 0, 0);
    for (float& value : w) value = random.normal();
    for (float& value : g) value = random.normal();
    const auto optimizer = make_optimizer("sgd", graph, {0.9f, 1e-4f, threads});
    norms.push_back(optimizer->step(w, g, 0.1));
    results.push_back(w);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
  EXPECT_EQ(norms[0], norms[1]);
  EXPECT_EQ(norms[0], norms[2]);
}

TEST(Optimizer, RefusesOtherLengths) {
  const Graph graph = small_graph();
  const auto optimizer = make_optimizer("sgd", graph, {0.9f, 0, 1});
  std::vector<float> w(graph.parameter_count), g(graph.parameter_count - 1);
  EXPECT_THROW(optimizer->step(w, g, 0.1), Error);
}

TEST(Optimizer, MakesEachNameOfTheTable) {
  const Graph graph = small_graph();
  for (const std::string& name : optimizer_names()) EXPECT_NE(make_optimizer(name, graph, {}), nullptr) << name;
  EXPECT_THROW(make_optimizer("newton", graph, {}), UsageError);
}

}  // namespace
}  // namespace packhorse

// Compares the networks with their published numbers (shapes, multiply-adds, parameters), and checks the layout of the
// flat arrays.
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "net/graph.h"

namespace packhorse {
namespace {

const Layer& layer(const Graph& graph, const std::string& name) {
  for (const Layer& candidate : graph.layers)
    if (candidate.name == name) return candidate;
  throw std::runtime_error("no layer " + name);
}

Shape shape_of(const Graph& graph, const std::string& name) { return layer(graph, name).out; }

TEST(Networks, Inception21kHasThePublishedSizes) {
  const Graph graph = make_network("inception-bn-21k", 224, 21841);
  EXPECT_NEAR(static_cast<double>(graph.macs()) / 1e9, 3.42, 0.005);
  EXPECT_NEAR(static_cast<double>(graph.parameter_count) / 1e6, 33.6, 0.05);
  EXPECT_EQ(shape_of(graph, "conv1/bn"), (Shape{1, 112, 112, 96}));
  EXPECT_EQ(shape_of(graph, "pool1"), (Shape{1, 56, 56, 96}));
  EXPECT_EQ(shape_of(graph, "pool2"), (Shape{1, 28, 28, 288}));
  EXPECT_EQ(shape_of(graph, "3a"), (Shape{1, 28, 28, 384}));
  EXPECT_EQ(shape_of(graph, "3b"), (Shape{1, 28, 28, 480}));
  EXPECT_EQ(shape_of(graph, "3c"), (Shape{1, 14, 14, 864}));
  EXPECT_EQ(shape_of(graph, "4d"), (Shape{1, 14, 14, 512}));
  EXPECT_EQ(shape_of(graph, "4e"), (Shape{1, 7, 7, 960}));
  EXPECT_EQ(shape_of(graph, "5b"), (Shape{1, 7, 7, 1024}));
  EXPECT_EQ(graph.parameters.back().shape, (std::vector<int64_t>{21841}));
}

TEST(Networks, InceptionHasThePapersSizes) {
  const Graph graph = make_network("inception-bn", 224, 1000);
  EXPECT_NEAR(static_cast<double>(graph.macs()) / 1e9, 2.03, 0.005);
  EXPECT_NEAR(static_cast<double>(graph.parameter_count) / 1e6, 11.3, 0.05);
  EXPECT_EQ(shape_of(graph, "5b"), (Shape{1, 7, 7, 1024}));
}

TEST(Networks, Resnet50HasThePublishedSizes) {
  const Graph graph = make_network("resnet-50", 224, 1000);
  EXPECT_EQ(graph.parameter_count, 25'557'032u);
  EXPECT_NEAR(static_cast<double>(graph.macs()) / 1e9, 4.09, 0.005);
  EXPECT_EQ(shape_of(graph, "3a/3x3/conv"), (Shape{1, 28, 28, 128}));
  EXPECT_EQ(shape_of(graph, "3a/reduce/conv"), (Shape{1, 56, 56, 128}));
}

TEST(Networks, SmallInceptionTakesSmallImages) {
  for (const int64_t size : {28, 32, 48, 64}) {
    const Graph graph = make_network("inception-bn-small", size, 10);
    EXPECT_EQ(shape_of(graph, "3a").h, size / 2);
    EXPECT_EQ(graph.layers.back().out.c, 10);
  }
  EXPECT_LT(make_network("inception-bn-small", 28, 10).macs(), 30'000'000);
}

TEST(Networks, ParametersTileTheArrayInForwardOrder) {
  for (const std::string& name : network_names()) {
    const Graph graph = make_network(name, name == "inception-bn-small" ? 28 : 224, 7);
    size_t end = 0;
    std::set<std::string> names;
    for (const Parameter& parameter : graph.parameters) {
      EXPECT_EQ(parameter.offset, end);
      size_t count = 1;
      for (const int64_t side : parameter.shape) count *= static_cast<size_t>(side);
      EXPECT_EQ(parameter.count, count);
      EXPECT_TRUE(names.insert(parameter.name).second) << parameter.name;
      EXPECT_EQ(parameter.decay, parameter.shape.size() > 1) << parameter.name;
      end += count;
    }
    EXPECT_EQ(end, graph.parameter_count);
    for (size_t i = 0; i < graph.layers.size(); ++i)
      for (const int input : graph.layers[i].inputs) EXPECT_LT(input, static_cast<int>(i));
  }
}

TEST(Networks, SiblingsAreAdjacent) {
  const Graph graph = make_network("inception-bn-21k", 224, 10);
  const auto at = [&](const std::string& name) { return static_cast<size_t>(layer(graph, name).weight); };
  EXPECT_EQ(at("3a/3x3_reduce/conv"), at("3a/1x1/conv") + 1);
  EXPECT_EQ(at("3a/pool_proj/conv"), at("3a/1x1/conv") + 3);
  EXPECT_EQ(at("3a/pool_proj/bn"), at("3a/1x1/bn") + 3);
}

TEST(Networks, RefusesInvalidArguments) {
  EXPECT_THROW(make_network("inception", 224, 1000), UsageError);
  EXPECT_THROW(make_network("resnet-50", 224, 0), UsageError);
  EXPECT_THROW(make_network("inception-bn", 28, 10), UsageError);
}

TEST(Initialise, DependsOnTheSeedAndHasTheRightVariance) {
  const Graph graph = make_network("inception-bn-small", 28, 10);
  std::vector<float> one(graph.parameter_count), two(graph.parameter_count), other(graph.parameter_count);
  std::vector<float> statistics(graph.statistic_count, -1.0f);
  initialise(graph, 7, one.data(), statistics.data());
  initialise(graph, 7, two.data(), statistics.data());
  initialise(graph, 8, other.data(), statistics.data());
  EXPECT_EQ(one, two);
  EXPECT_NE(one, other);
  for (const Parameter& parameter : graph.parameters) {
    if (parameter.init != Init::he_normal || parameter.count < 5000) continue;
    const auto n = static_cast<double>(parameter.count);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < parameter.count; ++i) {
      sum += one[parameter.offset + i];
      squares += one[parameter.offset + i] * one[parameter.offset + i];
    }
    const double variance = 2 * static_cast<double>(parameter.shape[0]) / n;
    EXPECT_LT(std::abs(sum / n), 5 * std::sqrt(variance / n)) << parameter.name;  // five standard errors
    EXPECT_NEAR(squares / n / variance, 1, 5 * std::sqrt(2 / n)) << parameter.name;
  }
  for (const Statistic& statistic : graph.statistics) EXPECT_EQ(statistics[statistic.offset], statistic.start);
}

}  // namespace
}  // namespace packhorse

// Whole networks: each backend against the reference, with merged and separate siblings, and what a step guarantees.
//
// Tolerances come from the sensitivity of the network: how much the result of the reference changes if each weight
// changes by one rounding of the dtype. A backend that rounds differently may differ by a few times as much.
#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include <gtest/gtest.h>

#include "net/builder.h"
#include "ops/cases.h"
#include "ops/executor.h"

namespace packhorse {
namespace {

constexpr float kScale = 1.0f / 64;

struct Batch {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
};

Batch made_up_batch(const Graph& graph, int64_t count, uint64_t seed) {
  RandomStream random(seed, RandomUse::test, 0, 0);
  Batch batch;
  batch.pixels.resize(static_cast<size_t>(count * graph.image_size * graph.image_size * 3));
  for (uint8_t& pixel : batch.pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int64_t i = 0; i < count; ++i)
    batch.labels.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(graph.classes))));
  return batch;
}

// A small network with every kind of node: a concat in a concat, residuals with and without projection, both pools,
// siblings.
Graph menagerie() {
  GraphBuilder net("menagerie", 12, 5);
  int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 16, .kernel = 3, .pad = 1});
  x = net.pool(NodeKind::max_pool, "stem_pool", x, 3, 2, 0, true);
  const int pool = net.pool(NodeKind::average_pool, "a/pool", x, 3, 1, 1);
  const auto siblings = net.siblings({{.name = "a/one", .src = x, .out = 16},
                                      {.name = "a/two", .src = x, .out = 32},
                                      {.name = "a/proj", .src = pool, .out = 16}});
  const int three = net.conv_bn({.name = "a/three", .src = siblings[1], .out = 16, .kernel = 3, .pad = 1});
  const int peak = net.pool(NodeKind::max_pool, "a/max", x, 3, 1, 1);
  const int inner = net.concat("a/inner", {siblings[0], three});
  x = net.concat("a", {inner, siblings[2], peak});
  const int y = net.conv_bn({.name = "r/0", .src = x, .out = 64, .kernel = 3, .pad = 1, .relu = false});
  x = net.add_relu("r", y, x);
  const int left =
      net.conv_bn({.name = "s/left", .src = x, .out = 32, .kernel = 3, .stride = 2, .pad = 1, .relu = false});
  const int right = net.conv_bn({.name = "s/right", .src = x, .out = 32, .stride = 2, .relu = false});
  net.classifier(net.add_relu("s", left, right));
  return net.finish();
}

void set_parameters(Executor& executor, uint64_t seed, double wiggle = 0) {
  const Graph& graph = executor.graph();
  initialise(graph, seed, executor.parameters().data(), executor.statistics().data());
  RandomStream random(seed, RandomUse::test, 1, 0);
  for (const Parameter& parameter : graph.parameters)  // different scales, shifts and biases
    if (parameter.shape.size() == 1)
      for (size_t i = 0; i < parameter.count; ++i)
        executor.parameters()[parameter.offset + i] += random.uniform(-0.3f, 0.3f);
  for (float& parameter : executor.parameters())
    parameter = static_cast<float>(parameter * (1 + wiggle * (random.below(2) == 0 ? -1 : 1)));
  executor.parameters_changed();
}

std::unique_ptr<Executor> made(const Graph& graph, ExecutorOptions options, double wiggle = 0) {
  std::fill(std::begin(options.scale), std::end(options.scale), kScale);
  auto executor = std::make_unique<Executor>(graph, options);
  set_parameters(*executor, 3, wiggle);
  return executor;
}

double norm(std::span<const float> a) {
  double sum = 0;
  for (const float value : a) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}
double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum);
}

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }

// Copies of the results of one forward and backward pass.
struct Outcome {
  BatchResult result;
  std::vector<float> gradients, batch_statistics, features;
};
Outcome outcome(Executor& executor, const Batch& batch) {
  Outcome o;
  o.result = executor.step(batch.pixels, batch.labels, 0.5f, nullptr);
  o.gradients = copy_of(executor.gradients());
  o.batch_statistics = copy_of(executor.batch_statistics());
  o.features = copy_of(executor.features());
  return o;
}
void expect_same_bits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.result.loss_sum, b.result.loss_sum);
  EXPECT_EQ(a.gradients, b.gradients);
  EXPECT_EQ(a.batch_statistics, b.batch_statistics);
  EXPECT_EQ(a.features, b.features);
}

// `a` may differ from the reference by kFactor times the change that `rounding_size` in every weight of the reference
// makes.
void expect_close(const Graph& graph, const Outcome& a, const Batch& batch, double rounding_size) {
  constexpr double kFactor = 8;
  const auto count = static_cast<int64_t>(batch.labels.size());
  const Outcome truth = outcome(*made(graph, {.backend = "reference", .batch = count}), batch);
  const Outcome moved = outcome(*made(graph, {.backend = "reference", .batch = count}, rounding_size), batch);
  EXPECT_EQ(a.result.counted, truth.result.counted);
  const double loss_size =
      std::abs(moved.result.loss_sum - truth.result.loss_sum) + rounding_size * truth.result.loss_sum;
  EXPECT_NEAR(a.result.loss_sum, truth.result.loss_sum, kFactor * loss_size);
  EXPECT_LT(distance(a.features, truth.features), kFactor * distance(moved.features, truth.features));
  EXPECT_LT(distance(a.batch_statistics, truth.batch_statistics),
            kFactor * distance(moved.batch_statistics, truth.batch_statistics));
  for (const Parameter& p : graph.parameters) {
    const auto range = [&](const Outcome& o) { return std::span<const float>(o.gradients).subspan(p.offset, p.count); };
    EXPECT_LT(distance(range(a), range(truth)),
              kFactor * distance(range(moved), range(truth)) + rounding_size * norm(range(truth)))
        << p.name;
  }
}

class Network : public testing::TestWithParam<BackendCase> {
 protected:
  ExecutorOptions options(int64_t batch) const {
    return {.backend = GetParam().backend, .batch = batch, .dtype = GetParam().dtype, .threads = 2};
  }
};

TEST_P(Network, AgreesWithTheReference) {
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)})
    for (const int64_t count : {1, 4}) {
      const Batch batch = made_up_batch(graph, count, 5);
      expect_close(graph, outcome(*made(graph, options(count)), batch), batch, rounding(GetParam().dtype));
    }
}

TEST_P(Network, SeparateSiblingsAgreeWithTheReference) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 6);
  ExecutorOptions plain = options(4);
  plain.merge_siblings = false;
  expect_close(graph, outcome(*made(graph, plain), batch), batch, rounding(GetParam().dtype));
}

TEST_P(Network, RecomputeChangesNoBit) {
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)}) {
    const Batch batch = made_up_batch(graph, 4, 7);
    ExecutorOptions recompute = options(4);
    recompute.recompute = true;
    const auto kept = made(graph, options(4)), recomputed = made(graph, recompute);
    expect_same_bits(outcome(*recomputed, batch), outcome(*kept, batch));
    EXPECT_LT(recomputed->memory().activations, kept->memory().activations);
  }
}

TEST_P(Network, AStepDependsOnNoEarlierStep) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 8), other = made_up_batch(graph, 4, 9);
  const auto one = made(graph, options(4)), two = made(graph, options(4));
  const Outcome first = outcome(*one, batch);
  expect_same_bits(outcome(*one, batch), first);
  two->infer(other.pixels);
  outcome(*two, other);  // a second executor exists at the same time and ran something else before
  expect_same_bits(outcome(*two, batch), first);
}

TEST_P(Network, WorksOnAnyThread) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 8);
  ExecutorOptions one_thread = options(4);
  one_thread.threads = 1;
  const auto executor = made(graph, one_thread);
  const Outcome here = outcome(*executor, batch);
  Outcome there;
  std::thread([&] { there = outcome(*executor, batch); }).join();
  expect_same_bits(there, here);
}

TEST_P(Network, ImagesWithoutALabelAreNotCounted) {
  const Graph graph = menagerie();
  Batch batch = made_up_batch(graph, 4, 10);
  const auto executor = made(graph, options(4));
  double sum = 0;
  std::vector<double> bias(static_cast<size_t>(graph.classes));
  const Parameter& last = graph.parameters.back();
  for (size_t i = 0; i < 4; ++i) {
    Batch single = batch;
    for (size_t j = 0; j < 4; ++j)
      if (j != i) single.labels[j] = -1;
    const BatchResult result = executor->step(single.pixels, single.labels, 1, nullptr);
    EXPECT_EQ(result.counted, 1u);
    sum += result.loss_sum;
    for (size_t k = 0; k < bias.size(); ++k) bias[k] += executor->gradients()[last.offset + k];
  }
  const BatchResult all = executor->step(batch.pixels, batch.labels, 1, nullptr);
  EXPECT_NEAR(all.loss_sum, sum, 1e-9 + 16 * rounding(Dtype::f32) * sum);
  for (size_t k = 0; k < bias.size(); ++k)
    EXPECT_NEAR(executor->gradients()[last.offset + k], bias[k], 64 * rounding(Dtype::f32));
  std::fill(batch.labels.begin(), batch.labels.end(), -1);
  EXPECT_EQ(executor->step(batch.pixels, batch.labels, 1, nullptr).counted, 0u);
  EXPECT_EQ(norm(executor->gradients()), 0);
}

TEST_P(Network, GradientsAreReadyFromTheEndAndThenStayTheSame) {
  const Graph graph = make_network("inception-bn-small", 16, 10);
  const Batch batch = made_up_batch(graph, 2, 11);
  const auto executor = made(graph, options(2));
  std::vector<float> seen(graph.parameter_count, std::numeric_limits<float>::quiet_NaN());
  std::vector<size_t> order = {graph.parameter_count};
  executor->step(batch.pixels, batch.labels, 1, [&](size_t first) {
    ASSERT_LT(first, order.back());
    std::copy(executor->gradients().begin() + static_cast<int64_t>(first),
              executor->gradients().begin() + static_cast<int64_t>(order.back()),
              seen.begin() + static_cast<int64_t>(first));
    order.push_back(first);
  });
  EXPECT_EQ(order.back(), 0u);
  EXPECT_GT(order.size(), 10u);
  EXPECT_EQ(seen, copy_of(executor->gradients()));
}

TEST_P(Network, InferenceWithTheBatchsStatisticsMatchesTheTrainingForwardPass) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 12);
  ExecutorOptions training = options(4), inference = options(4);
  training.statistics_momentum = 0;
  inference.training = false;
  const auto trained = made(graph, training), deployed = made(graph, inference);
  const Outcome step = outcome(*trained, batch);
  trained->update_statistics(1);
  std::copy(trained->statistics().begin(), trained->statistics().end(), deployed->statistics().begin());
  EXPECT_EQ(copy_of(trained->statistics()), step.batch_statistics);
  const std::vector<float> here = copy_of(trained->infer(batch.pixels));
  EXPECT_EQ(copy_of(trained->features()), step.features);
  const std::vector<float> there = copy_of(deployed->infer(batch.pixels));
  EXPECT_LE(distance(there, here), 64 * rounding(GetParam().dtype) * norm(here));
  EXPECT_LT(deployed->memory().activations, trained->memory().activations);
  // A batch with fewer images gives the same logits for them.
  const size_t image = batch.pixels.size() / 4;
  const auto fewer = deployed->infer(std::span(batch.pixels).first(2 * image));
  for (size_t i = 0; i < static_cast<size_t>(2 * graph.classes); ++i) EXPECT_EQ(fewer[i], there[i]);
}

TEST_P(Network, StatisticsMoveByTheirMomentum) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 13);
  const auto executor = made(graph, options(2));
  const Outcome step = outcome(*executor, batch);
  const std::vector<float> before = copy_of(executor->statistics());
  executor->update_statistics(0.5f);
  for (size_t i = 0; i < before.size(); ++i) {
    const double expected = 0.9 * before[i] + 0.1 * 0.5 * step.batch_statistics[i];
    EXPECT_NEAR(executor->statistics()[i], expected, 4 * rounding(Dtype::f32) * (std::abs(expected) + 1));
  }
}

TEST_P(Network, RefusesWrongInputs) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 14);
  const auto executor = made(graph, options(2));
  EXPECT_THROW(executor->step(std::span(batch.pixels).first(100), batch.labels, 1, nullptr), UsageError);
  EXPECT_THROW(executor->step(batch.pixels, std::span(batch.labels).first(1), 1, nullptr), UsageError);
  EXPECT_THROW(executor->step(batch.pixels, std::vector<int32_t>{0, 5}, 1, nullptr), UsageError);
  ExecutorOptions inference = options(2);
  inference.training = false;
  EXPECT_THROW(made(graph, inference)->step(batch.pixels, batch.labels, 1, nullptr), UsageError);
  EXPECT_THROW(made(graph, options(0)), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Backends, Network, testing::ValuesIn(backend_cases()), case_name);

// Checks the whole network with finite differences: along the normalised gradient of one layer, the slope of the
// loss is the gradient's length.
TEST(NetworkReference, GradientsMatchFiniteDifferences) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 15);
  const auto executor = made(graph, {.backend = "reference", .batch = 2});
  const Outcome at = outcome(*executor, batch);
  for (const Parameter& p : graph.parameters) {
    const auto gradient = std::span<const float>(at.gradients).subspan(p.offset, p.count);
    const auto values = executor->parameters().subspan(p.offset, p.count);
    const double length = norm(gradient);
    if (length < 1e-3) continue;  // weights that only feed a batch norm may have a gradient of zero
    const std::vector<float> kept = copy_of(values);
    const auto loss = [&](double step) {
      for (size_t i = 0; i < kept.size(); ++i) values[i] = static_cast<float>(kept[i] + step * gradient[i] / length);
      return 0.5 * executor->step(batch.pixels, batch.labels, 0.5f, nullptr).loss_sum;
    };
    const auto slope = [&](double h) { return (loss(h) - loss(-h)) / (2 * h); };
    // The kinks of ReLU and max pool make the truncation error irregular: three step sizes bound it.
    const double h = 0x1p-10, a = slope(h), b = slope(2 * h), c = slope(4 * h);
    std::copy(kept.begin(), kept.end(), values.begin());
    EXPECT_NEAR(length, a, 2 * std::max(std::abs(a - b), std::abs(b - c)) + 64 * rounding(Dtype::f32) / h) << p.name;
  }
}

}  // namespace
}  // namespace packhorse

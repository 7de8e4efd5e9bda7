// Whole networks with raw values and fused convolutions against the plain program, both on the reference's loops: loss,
// features, statistics and every gradient, with scales of all signs and some of 0.
//
// Against the plain program whose average pools were moved and whose siblings were merged, forward is the same to the
// last bit: pools and concatenations choose and copy, so the same numbers are rounded once each. Backward, a scaled
// gradient is rounded once instead of twice, and a batch norm's reductions run over a pool's results instead of its
// operands. Against the program as it is, the moved pools round otherwise; then tolerances come from the sensitivity of
// the network: how much the plain program's results change if each weight changes by one rounding.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "ops/fused_reference.h"
#include "ops/lengths.h"
#include "ops/machine.h"
#include "ops/networks.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

constexpr int64_t kBatch = 2;

// Weights of every sign: of four scales, two rise, one falls and one is 0. Each is moved by `wiggle`, up or down.
void fill(const Graph& graph, std::span<float> weights, std::span<float> statistics, double wiggle) {
  initialise(graph, 5, weights.data(), statistics.data());
  RandomStream random(5, RandomUse::test, 2, 0);
  for (const Parameter& p : graph.parameters) {
    if (p.shape.size() != 1) continue;
    const bool scale = p.name.ends_with("scale");
    for (size_t i = 0; i < p.count; ++i) {
      float& weight = weights[p.offset + i];
      weight += random.uniform(-0.3f, 0.3f);
      if (scale && i % 4 == 1) weight = -weight;
      if (scale && i % 4 == 3) weight = 0;
    }
  }
  for (float& weight : weights) weight = static_cast<float>(weight * (1 + wiggle * (random.below(2) == 0 ? -1 : 1)));
}

struct Outcome {
  StepReport report;
  std::vector<float> gradients, batch_statistics, running, features, logits, inferred;
};

// One step and one inference of a network, with rewrites and fusions or without.
Outcome outcome(const Graph& graph, std::unique_ptr<Backend> backend, StepOptions options, double wiggle = 0) {
  std::fill(std::begin(options.forward.scale), std::end(options.forward.scale), 1.0f / 64);
  Machine machine(std::move(backend), graph, options);
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  fill(graph, weights, statistics, wiggle);
  machine.write(weights, statistics);

  RandomStream random(6, RandomUse::test, 0, 0);
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * graph.image_size * graph.image_size * 3));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  const std::vector<int32_t> labels = {1, 0};
  Outcome o;
  o.report = machine.step({.pixels = pixels, .labels = labels, .gradient_scale = 0.5f});
  o.gradients = machine.state(kGradients);
  o.batch_statistics = machine.state(kBatchStatistics);
  o.running = machine.state(kRunning);
  o.features = machine.result("features");
  o.logits = machine.result("logits");
  o.inferred = machine.infer(pixels);
  return o;
}

// The reference, with rewrites of the forward program.
class Rewritten : public FusedReference {
 public:
  explicit Rewritten(std::vector<Rewrite> rewrites) : rewrites_(std::move(rewrites)) {}
  std::vector<Rewrite> algebraic() const override { return rewrites_; }
  void rewrite(Program& /*program*/, Program& /*refresh*/) override {}

 private:
  std::vector<Rewrite> rewrites_;
};

std::unique_ptr<Backend> rewritten(std::vector<Rewrite> rewrites) {
  return std::make_unique<Rewritten>(std::move(rewrites));
}

constexpr double kRounding = 0x1p-24;

class RawNetwork : public testing::TestWithParam<std::string> {
 protected:
  Graph graph() const {
    if (GetParam() == "small") return small_network();
    return GetParam() == "menagerie" ? menagerie() : small_form(GetParam());
  }
  bool is_large() const { return GetParam() == "inception-bn-21k" || GetParam() == "resnet-50"; }
};

std::span<const float> gradient_of(const Outcome& o, const Parameter& p) {
  return std::span(o.gradients).subspan(p.offset, p.count);
}

// Each node of the backward pass rounds what it writes, at most twice; at worst the errors of all add up.
double backward_nodes(const Graph& graph) {
  const Program program = training_step(graph, step_of(kBatch), {});
  return static_cast<double>(std::count_if(program.nodes.begin(), program.nodes.end(),
                                           [](const Node& node) { return node.pass == Pass::backward; }));
}

TEST_P(RawNetwork, ForwardKeepsTheBitsAndGradientsAreWithinTheirRounding) {
  const Graph g = graph();
  const double error = 2 * backward_nodes(g) * kRounding;
  const Outcome truth = outcome(g, rewritten({move_average_pools, merge_siblings}), step_of(kBatch));
  for (const bool recompute : {false, true}) {
    if (recompute && is_large()) continue;
    const Outcome raw = outcome(g, std::make_unique<FusedReference>(), step_of(kBatch, Dtype::f32, recompute));
    EXPECT_EQ(raw.report.loss_sum, truth.report.loss_sum);
    EXPECT_EQ(raw.features, truth.features);
    EXPECT_EQ(raw.logits, truth.logits);
    EXPECT_EQ(raw.batch_statistics, truth.batch_statistics);
    EXPECT_EQ(raw.running, truth.running);
    EXPECT_EQ(raw.inferred, truth.inferred);
    for (const Parameter& p : g.parameters)
      EXPECT_LE(distance(gradient_of(raw, p), gradient_of(truth, p)), error * norm(gradient_of(truth, p)))
          << p.name << " recompute " << recompute;
  }
}

// Networks whose average pools move: for the others, the test above compares with the program as it is.
class MovedPools : public RawNetwork {};

TEST_P(MovedPools, GiveThePlainGradientsWithinTheNetworksSensitivity) {
  const Graph g = graph();
  constexpr double kFactor = 8;
  const Outcome truth = outcome(g, rewritten({}), step_of(kBatch)),
                moved = outcome(g, rewritten({}), step_of(kBatch), kRounding),
                raw = outcome(g, std::make_unique<FusedReference>(), step_of(kBatch));
  const auto expect_close = [&](const auto& part, const std::string& what) {
    EXPECT_LE(distance(part(raw), part(truth)),
              kFactor * distance(part(moved), part(truth)) + kRounding * norm(part(truth)))
        << what;
  };
  expect_close([](const Outcome& o) { return std::span(o.features); }, "features");
  expect_close([](const Outcome& o) { return std::span(o.logits); }, "logits");
  expect_close([](const Outcome& o) { return std::span(o.batch_statistics); }, "batch statistics");
  expect_close([](const Outcome& o) { return std::span(o.running); }, "running statistics");
  expect_close([](const Outcome& o) { return std::span(o.inferred); }, "inferred logits");
  for (const Parameter& p : g.parameters) expect_close([&](const Outcome& o) { return gradient_of(o, p); }, p.name);
  const double loss = truth.report.loss_sum;
  EXPECT_NEAR(raw.report.loss_sum, loss, kFactor * (std::abs(moved.report.loss_sum - loss) + kRounding * loss));
  EXPECT_EQ(raw.report.counted, truth.report.counted);
}

std::string plain_name(const testing::TestParamInfo<std::string>& name) {
  std::string plain = name.param;
  std::replace(plain.begin(), plain.end(), '-', '_');
  return plain;
}

INSTANTIATE_TEST_SUITE_P(Networks, RawNetwork,
                         testing::Values("small", "menagerie", "inception-bn-small", "inception-bn-21k", "resnet-50"),
                         plain_name);
INSTANTIATE_TEST_SUITE_P(Networks, MovedPools,
                         testing::Values("small", "menagerie", "inception-bn-small", "inception-bn-21k"), plain_name);

}  // namespace
}  // namespace packhorse

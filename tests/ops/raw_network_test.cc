// Whole networks with raw values and fused convolutions against the plain program, both on the reference's loops: loss,
// features, statistics and every gradient, with scales of all signs and some of 0.
//
// The two programs compute the same numbers in another order: a scaled gradient is rounded once instead of twice, an
// average is taken of other values, sums over fewer pixels. Tolerances come from the sensitivity of the network: how
// much the plain program's results change if each weight changes by one rounding.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/bound_program.h"
#include "ops/compile.h"
#include "ops/fused_reference.h"
#include "ops/networks.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

constexpr int64_t kBatch = 2;

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }

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
Outcome outcome(const Graph& graph, Backend& backend, StepOptions options, double wiggle = 0) {
  std::fill(std::begin(options.forward.scale), std::end(options.forward.scale), 1.0f / 64);
  Program refresh{.name = "refresh"};
  CompiledProgram step = compile(training_step(graph, options, backend.algebraic()), backend, refresh);
  CompiledProgram inference = compile(inference_program(graph, options.forward, backend.algebraic()), backend, refresh);
  States states(host_device());
  states.add(step.program);
  states.add(inference.program);
  std::vector<std::byte> slab(std::max(step.plan.bytes, inference.plan.bytes), std::byte{0xff});
  const auto state = [&](const char* name) {
    return std::span(reinterpret_cast<float*>(states.address(name)), states.bytes(name) / sizeof(float));
  };
  fill(graph, state(kWeights), state(kRunning), wiggle);

  RandomStream random(6, RandomUse::test, 0, 0);
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * graph.image_size * graph.image_size * 3));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  const std::vector<int32_t> labels = {1, 0};
  BoundProgram bound_step(std::move(step), backend, states, slab.data(), nullptr, false);
  BoundProgram bound_inference(std::move(inference), backend, states, slab.data(), nullptr, false);
  Outcome o;
  bound_step.run({.pixels = pixels, .labels = labels, .gradient_scale = 0.5f, .report = &o.report});
  o.gradients = copy_of(state(kGradients));
  o.batch_statistics = copy_of(state(kBatchStatistics));
  o.running = copy_of(state(kRunning));
  o.features = copy_of(bound_step.floats("features"));
  o.logits = copy_of(bound_step.floats("logits"));
  bound_inference.run({.pixels = pixels});
  o.inferred = copy_of(bound_inference.floats("logits"));
  return o;
}

class RawNetwork : public testing::TestWithParam<std::string> {
 protected:
  Graph graph() const { return GetParam() == "small" ? small_network() : small_form(GetParam()); }
};

TEST_P(RawNetwork, GivesThePlainGradientsWithinRounding) {
  constexpr double kFactor = 8, kRounding = 0x1p-24;
  const Graph g = graph();
  const auto plain = make_backend("reference", Dtype::f32, 1, true);
  const Outcome truth = outcome(g, *plain, step_of(kBatch)), moved = outcome(g, *plain, step_of(kBatch), kRounding);
  for (const bool recompute : {false, true}) {
    FusedReference fused;
    const Outcome raw = outcome(g, fused, step_of(kBatch, Dtype::f32, recompute));
    double worst = 0;
    const auto expect_close = [&](const auto& part, const std::string& what) {
      const double allowed = kFactor * distance(part(moved), part(truth)) + kRounding * norm(part(truth));
      const double found = distance(part(raw), part(truth));
      EXPECT_LE(found, allowed) << what << " recompute " << recompute;
      if (allowed > 0) worst = std::max(worst, found / allowed);
    };
    expect_close([](const Outcome& o) { return std::span(o.features); }, "features");
    expect_close([](const Outcome& o) { return std::span(o.logits); }, "logits");
    expect_close([](const Outcome& o) { return std::span(o.batch_statistics); }, "batch statistics");
    expect_close([](const Outcome& o) { return std::span(o.running); }, "running statistics");
    expect_close([](const Outcome& o) { return std::span(o.inferred); }, "inferred logits");
    for (const Parameter& p : g.parameters)
      expect_close([&](const Outcome& o) { return std::span(o.gradients).subspan(p.offset, p.count); }, p.name);
    const double loss = truth.report.loss_sum;
    EXPECT_NEAR(raw.report.loss_sum, loss,
                kFactor * std::abs(moved.report.loss_sum - loss) + 8 * kRounding * std::abs(loss));
    EXPECT_EQ(raw.report.counted, truth.report.counted);
    RecordProperty("worst", std::to_string(worst));
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, RawNetwork,
                         testing::Values("small", "inception-bn-small", "inception-bn-21k", "resnet-50"),
                         [](const testing::TestParamInfo<std::string>& name) {
                           std::string plain = name.param;
                           std::replace(plain.begin(), plain.end(), '-', '_');
                           return plain;
                         });

}  // namespace
}  // namespace packhorse

// The nodes that end a step: the optimizer by PyTorch's convention, alone and fused with the norm, the running
// statistics, what the loss decides.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ops/cpu/rewrites.h"
#include "ops/optimizers.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

constexpr float kMomentum = 0.9f, kDecay = 0.01f;

struct Range {
  int64_t first, count;
  bool decays;
};

// Three parameters: the first is longer than a piece that one thread takes, the second has no decay.
const std::vector<Range> kParameters = {{0, 40001, true}, {40001, 17, false}, {40018, 1000, true}};
constexpr int64_t kCount = 41018;

// The CPU fuses the update and a norm that follows it; not one that comes before.
enum class Norm { after, before };

struct Update {
  explicit Update(const BackendCase& c, Norm norm, int threads = 2)
      : t(c, threads),
        weight(t.weights(kCount)),
        gradient(t.array("gradient", kCount)),
        momentum(t.array("momentum", kCount)),
        finite(t.array("finite", 1, Dtype::i32)),
        squares(t.array("squares", 1, Dtype::f64)) {
    const Node length{.kind = &kNorm, .name = "gradient", .reads = {gradient}, .writes = {squares}};
    if (norm == Norm::before) t.add(length);
    const Operand new_weight = t.over(weight, "new_weight"), new_momentum = t.over(momentum, "new_momentum");
    for (const Range& p : kParameters)
      t.add({.kind = &kSgd,
             .name = "parameter",
             .reads = {part(weight, p.first, p.count), part(gradient, p.first, p.count),
                       part(momentum, p.first, p.count), finite},
             .writes = {part(new_weight, p.first, p.count), part(new_momentum, p.first, p.count)},
             .numbers = {{"momentum", kMomentum}, {"decay", p.decays ? kDecay : 0}},
             .in_place = {{"new_weight", "weight"}, {"new_momentum", "momentum"}},
             .pass = Pass::update});
    if (norm == Norm::after) t.add(length);

    RandomStream random(1, RandomUse::test, 0, 0);
    const auto numbers = [&] {
      std::vector<double> values(static_cast<size_t>(kCount));
      for (double& value : values) value = random.normal();
      return values;
    };
    weights = numbers();
    gradients = numbers();
    t.set(weight, weights);
    t.set(gradient, gradients);
    t.set(momentum, 0);
    t.set(finite, 1);
  }
  Trial t;
  Operand weight, gradient, momentum, finite, squares;
  std::vector<double> weights, gradients;
};

class Sgd : public testing::TestWithParam<BackendCase> {};

TEST_P(Sgd, MatchesPlainLoops) {
  for (const Norm norm : {Norm::after, Norm::before}) {
    Update p(GetParam(), norm);
    std::vector<double> w = p.weights, v(w.size(), 0.0), g(w.size());
    RandomStream random(2, RandomUse::test, 0, 0);
    for (int step = 0; step < 10; ++step) {
      const double learning_rate = 0.1 / (step + 1);
      double squares = 0;
      for (size_t i = 0; i < g.size(); ++i) {
        g[i] = random.normal();
        squares += g[i] * g[i];
        const bool decays = i < 40001 || i >= 40018;
        v[i] = kMomentum * v[i] + (g[i] + (decays ? kDecay * w[i] : 0));
        w[i] -= learning_rate * v[i];
      }
      p.t.set(p.gradient, g);
      p.t.run({.learning_rate = learning_rate});
      // Sums of 16,384 squares in f32, with one rounding each at worst.
      EXPECT_NEAR(p.t.get(p.squares, 0), squares, squares * 16384 * rounding(Dtype::f32));
    }
    // Each step rounds values below 16 about five times: 10 steps of 5 roundings, each half a unit of 16.
    const double tolerance = 10 * 5 * 8 * std::numeric_limits<float>::epsilon();
    const std::vector<double> new_weights = p.t.get(p.weight), new_momentum = p.t.get(p.momentum);
    for (size_t i = 0; i < w.size(); ++i) {
      ASSERT_NEAR(new_weights[i], w[i], tolerance) << i;
      ASSERT_NEAR(new_momentum[i], v[i], tolerance) << i;
    }
    if (GetParam().backend != "cpu") continue;
    const std::vector<Node>& nodes = p.t.compiled().nodes;
    EXPECT_EQ(nodes.size(), norm == Norm::after ? 1u : 4u);
    EXPECT_EQ(nodes.back().is(cpu::kSgdWithNorm), norm == Norm::after);
    EXPECT_EQ(nodes.back().body.size(), norm == Norm::after ? 4u : 0u);
  }
}

// A new learning rate acts at once, also on what the momentum holds: w - rate * v, not a sum of scaled gradients.
TEST_P(Sgd, TheLearningRateScalesTheWholeMomentum) {
  Update p(GetParam(), Norm::after);
  p.t.run({.learning_rate = 0.5});
  const std::vector<double> w = p.t.get(p.weight), v = p.t.get(p.momentum);
  p.t.set(p.gradient, 0);
  p.t.run({.learning_rate = 0.125});
  for (const int64_t i : {int64_t{0}, int64_t{40005}, kCount - 1}) {
    const auto place = static_cast<size_t>(i);
    const bool decays = i < 40001 || i >= 40018;
    const double velocity = kMomentum * v[place] + (decays ? kDecay * w[place] : 0);
    // A product, a sum and the decay for v, two more for w; all below 16.
    EXPECT_NEAR(p.t.get(p.momentum, i), velocity, 4 * 16 * rounding(Dtype::f32));
    EXPECT_NEAR(p.t.get(p.weight, i), w[place] - 0.125 * velocity, 6 * 16 * rounding(Dtype::f32));
  }
}

TEST_P(Sgd, ThreadsDoNotChangeABit) {
  for (const Norm norm : {Norm::after, Norm::before}) {
    std::vector<std::vector<double>> results;
    for (const int threads : {1, 2, 3}) {
      Update p(GetParam(), norm, threads);
      p.t.run({.learning_rate = 0.1});
      std::vector<double> all = p.t.get(p.weight);
      for (const Operand& more : {p.momentum, p.squares})
        for (const double value : p.t.get(more)) all.push_back(value);
      results.push_back(all);
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

TEST_P(Sgd, NothingChangesIfTheLossIsNotANumber) {
  for (const Norm norm : {Norm::after, Norm::before}) {
    Update p(GetParam(), norm);
    p.t.run({.learning_rate = 0.1});
    const std::vector<double> weights = p.t.get(p.weight), momentum = p.t.get(p.momentum);
    const double squares = p.t.get(p.squares, 0);
    p.t.set(p.finite, 0);
    p.t.set(p.squares, 0);
    p.t.run({.learning_rate = 0.1});
    EXPECT_EQ(p.t.get(p.weight), weights);
    EXPECT_EQ(p.t.get(p.momentum), momentum);
    EXPECT_EQ(p.t.get(p.squares, 0), squares) << "the norm is reported all the same";
  }
}

TEST_P(Sgd, RefusesArraysThatAreTooShort) {
  Trial t(GetParam());
  const Operand weight = t.weights(8), gradient = t.array("gradient", 7), momentum = t.array("momentum", 8);
  t.add({.kind = &kSgd,
         .name = "parameter",
         .reads = {weight, Operand{"gradient", gradient.value, 0, 8}, momentum, t.array("finite", 1, Dtype::i32)},
         .writes = {t.over(weight, "new_weight"), t.over(momentum, "new_momentum")},
         .in_place = {{"new_weight", "weight"}, {"new_momentum", "momentum"}}});
  EXPECT_THROW(t.run(), Error);
}

TEST_P(Sgd, RunningStatisticsMoveTowardsTheBatch) {
  constexpr int64_t kChannels = 37;
  constexpr double kKeep = 0.9, kShare = 0.25;
  Numbers numbers(3);
  // Sums over four ranks.
  const std::vector<double> batch = numbers.vector(kChannels, -4, 4), running = numbers.vector(kChannels);
  Trial t(GetParam());
  const Operand batch_at = t.array("batch", kChannels), running_at = t.array("running", kChannels),
                finite = t.array("finite", 1, Dtype::i32), next = t.over(running_at, "new_running");
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 20}, {20, 17}})
    t.add({.kind = &kRunningStatistics,
           .name = "test",
           .reads = {part(batch_at, first, count), part(running_at, first, count), finite},
           .writes = {part(next, first, count)},
           .numbers = {{"momentum", kKeep}, {"share", kShare}},
           .in_place = {{"new_running", "running"}},
           .pass = Pass::update});
  t.set(batch_at, batch);
  t.set(running_at, running);
  t.set(finite, 0);
  t.run();
  EXPECT_EQ(t.get(running_at), running) << "the loss is not a number";
  t.set(finite, 1);
  t.run();
  for (size_t c = 0; c < running.size(); ++c) {
    const double kept = kKeep * running[c], taken = (1 - kKeep) * kShare * batch[c];
    // 1 - momentum has ten times momentum's rounding error, relatively; then two products and a sum.
    EXPECT_NEAR(t.get(running_at)[c], kept + taken,
                rounding(Dtype::f32) * (3 * std::abs(kept) + (kKeep / (1 - kKeep) + 5) * std::abs(taken)));
  }
}

TEST_P(Sgd, FiniteIsWhetherTheMeanLossIsANumber) {
  Trial t(GetParam());
  const Operand words = t.array("words", kWords), finite = t.array("finite", 1, Dtype::i32);
  t.add({.kind = &kFinite, .name = "loss", .reads = {words}, .writes = {finite}, .pass = Pass::update});
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const auto found = [&](double loss, double counted) {
    t.set(words, {loss, counted, 0, 0});
    t.run();
    return t.get(finite, 0);
  };
  EXPECT_EQ(found(3, 2), 1);
  EXPECT_EQ(found(0, 2), 1);
  EXPECT_EQ(found(nan, 2), 0);
  EXPECT_EQ(found(infinity, 2), 0);
  EXPECT_EQ(found(-infinity, 2), 0);
  EXPECT_EQ(found(0, 0), 0) << "no image was counted";
}

TEST_P(Sgd, FiniteNeedsAGradientIfItIsGivenOne) {
  Trial t(GetParam());
  const Operand words = t.array("words", kWords), squares = t.array("squares", 1, Dtype::f64),
                finite = t.array("finite", 1, Dtype::i32);
  t.add({.kind = &kFinite, .name = "loss", .reads = {words, squares}, .writes = {finite}, .pass = Pass::update});
  t.set(words, {3, 2, 0, 0});
  for (const double length : {1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    t.set(squares, length);
    t.run();
    EXPECT_EQ(t.get(finite, 0), std::isfinite(length) ? 1 : 0) << length;
  }
}

TEST_P(Sgd, TheLossScaleFollowsWhatIsFinite) {
  for (const int interval : {0, 3}) {
    Trial t(GetParam());
    const Operand scale = t.array("loss_scale", kLossScaleWords), finite = t.array("finite", 1, Dtype::i32);
    t.add({.kind = &kLossScale,
           .name = "loss",
           .reads = {scale, finite},
           .writes = {t.over(scale, "new_loss_scale")},
           .numbers = {{"interval", static_cast<double>(interval)}},
           .in_place = {{"new_loss_scale", "loss_scale"}},
           .pass = Pass::update});
    const auto after = [&](double factor, double updates, bool is_finite) {
      t.set(scale, {factor, updates});
      t.set(finite, is_finite ? 1 : 0);
      t.run();
      return t.get(scale);
    };
    using Words = std::vector<double>;
    const bool moves = interval > 0;
    EXPECT_EQ(after(1024, 0, true), (Words{1024, 1}));
    EXPECT_EQ(after(1024, 1, true), (Words{1024, 2}));
    EXPECT_EQ(after(1024, 2, true), moves ? (Words{2048, 0}) : (Words{1024, 3}));
    EXPECT_EQ(after(1024, 2, false), moves ? (Words{512, 0}) : (Words{1024, 2}));
    EXPECT_EQ(after(1, 2, false), (Words{1, 2})) << "not below 1";
    EXPECT_EQ(after(kGreatestLossScale, 2, true), (Words{kGreatestLossScale, 3})) << "nor beyond the greatest";
  }
}

TEST_P(Sgd, WordsBecomeAReport) {
  Trial t(GetParam());
  const Operand words = t.array("words", kWords), squares = t.array("squares", 1, Dtype::f64),
                finite = t.array("finite", 1, Dtype::i32), scale = t.array("loss_scale", kLossScaleWords);
  t.add({.kind = &kReport, .name = "step", .reads = {words, squares, finite, scale}, .pass = Pass::update});
  t.set(squares, 0.125);
  t.set(words, {12.5, 7, 3, 5});
  t.set(scale, {512, 17});
  for (const bool applied : {true, false}) {
    t.set(finite, applied ? 1 : 0);
    EXPECT_EQ(t.run().applied, applied);
  }
  const StepReport report = t.run();
  EXPECT_EQ(report.loss_scale, 512);
  EXPECT_EQ(report.updates_at_scale, 17);
  EXPECT_EQ(report.loss_sum, 12.5);
  EXPECT_EQ(report.counted, 7u);
  EXPECT_EQ(report.top1, 3u);
  EXPECT_EQ(report.top5, 5u);
  EXPECT_EQ(report.squares, 0.125);
}

INSTANTIATE_TEST_SUITE_P(Backends, Sgd, testing::ValuesIn(backend_cases()), case_name);

TEST(Optimizers, EachNameIsAKind) {
  for (const std::string& name : optimizer_names()) EXPECT_NE(optimizer_named(name).kind, nullptr) << name;
  EXPECT_THROW(optimizer_named("newton"), UsageError);
}

}  // namespace
}  // namespace packhorse

// Addition, the fully connected layer, the loss, the input, copies; what backends refuse.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <optional>

#include "ops/addends.h"
#include "ops/cpu/rewrites.h"
#include "ops/finite_difference.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

class Layers : public testing::TestWithParam<BackendCase> {};

// ---- Addition

TEST_P(Layers, AddSumsAndCutsOff) {
  const Shape shape{2, 5, 5, 40};
  for (const bool relu : {false, true}) {
    Numbers numbers(5);
    const std::vector<double> a = numbers.vector(shape.count()), b = numbers.vector(shape.count());
    Trial t(GetParam());
    const Operand dst = t.value("dst", shape, 16);
    t.add({.kind = &kAdd,
           .name = "test",
           .reads = {filled(t, t.value("a", shape, 8), a), filled(t, t.value("b", shape), b)},
           .writes = {dst},
           .numbers = {{"relu", relu ? 1.0 : 0.0}}});
    t.run();
    const std::vector<double> found = t.get(dst);
    for (size_t i = 0; i < found.size(); ++i) {
      const double sum = a[i] + b[i];
      ASSERT_NEAR(found[i], relu ? std::max(sum, 0.0) : sum, rounding(GetParam().dtype) * std::abs(sum));
    }
    EXPECT_TRUE(t.gaps_untouched(dst));
  }
}

// The gradient may also lie where dst_grad lies, if nobody else reads that.
TEST_P(Layers, AddPassesTheGradientIfTheSumIsPositive) {
  const Shape shape{2, 5, 5, 40};
  for (const bool relu : {false, true})
    for (const std::optional<Addend> addend : {std::optional<Addend>(Addend::none), std::optional(Addend::elsewhere),
                                               std::optional(Addend::in_place), std::optional<Addend>()}) {
      Numbers numbers(5);
      const std::vector<double> value = numbers.vector(shape.count()), gradient = numbers.vector(shape.count()),
                                before = numbers.vector(shape.count());
      Trial t(GetParam());
      const Operand dst_grad = filled(t, t.value("dst_grad", shape, 24), gradient);
      Node node{.kind = &kAddGradient, .name = "test", .reads = {dst_grad}};
      if (relu) node.reads.push_back(filled(t, t.value("dst", shape, 8), value));
      Contribution src_grad(t, t.value("src_grad", shape, 24), t.value("before", shape), addend.value_or(Addend::none),
                            before);
      if (!addend) src_grad.result = t.over(dst_grad, "src_grad");
      src_grad.read_in(node);
      src_grad.write_in(node);
      if (!addend) node.in_place = {{"src_grad", "dst_grad"}};
      t.add(node);
      t.run();
      const std::vector<double> found = t.get(src_grad.result);
      for (size_t i = 0; i < found.size(); ++i) {
        const double expected = (!relu || value[i] > 0 ? gradient[i] : 0) + src_grad.before[i];
        // Without an addend nothing is computed.
        const double allowed = src_grad.has_addend ? rounding(GetParam().dtype) * std::abs(expected) : 0;
        ASSERT_NEAR(found[i], expected, allowed) << "relu " << relu << " " << addend.value_or(Addend::none);
      }
      EXPECT_TRUE(t.gaps_untouched(src_grad.result));
    }
}

TEST(LayersReference, GradientOfAddMatchesFiniteDifferences) {
  const Shape shape{2, 2, 2, 5};
  for (const bool relu : {false, true}) {
    Numbers numbers(5);
    // Far from the kink of ReLU: a channel's sums are positive or negative.
    std::vector<double> a = numbers.vector(shape.count());
    for (size_t i = 0; i < a.size(); ++i) a[i] += i % 2 == 0 ? 3 : -3;
    const std::vector<double> weights = numbers.vector(shape.count());
    Trial t(kReference);
    const Operand left = filled(t, t.value("a", shape), a),
                  right = filled(t, t.value("b", shape), numbers.vector(shape.count())), dst = t.value("dst", shape),
                  src_grad = t.value("src_grad", shape);
    t.add({.kind = &kAdd,
           .name = "test",
           .reads = {left, right},
           .writes = {dst},
           .numbers = {{"relu", relu ? 1.0 : 0.0}}});
    Node gradient{.kind = &kAddGradient,
                  .name = "test",
                  .reads = {filled(t, t.value("dst_grad", shape), weights)},
                  .writes = {src_grad}};
    if (relu) gradient.reads.push_back(dst);
    t.add(gradient);
    t.run();
    const std::vector<double> by_either = t.get(src_grad);
    FiniteDifferences differences(t, {{dst, weights}});
    differences.check(left, by_either);
    differences.check(right, by_either);
  }
}

// ---- Fully connected

struct Products {
  Products(const BackendCase& which, int64_t n_, int64_t c_, int64_t o_) : n(n_), c(c_), o(o_), t(which) {
    Numbers numbers(6);
    src = numbers.vector(n * c);
    weight = numbers.vector(o * c);
    bias = numbers.vector(o);
    dst_grad = numbers.vector(n * o);
    src_at = filled(t, t.matrix("src", n, c), src);
    weight_at = filled(t, t.weights(o * c), weight);
    bias_at = filled(t, t.array("bias", o), bias);
    dst_at = t.matrix("dst", n, o);
    const Operand gradient = filled(t, t.matrix("dst_grad", n, o), dst_grad);
    src_grad_at = t.matrix("src_grad", n, c);
    weight_grad_at = t.array("weight_grad", o * c);
    bias_grad_at = t.array("bias_grad", o);
    t.add({.kind = &kFullyConnected, .name = "test", .reads = {src_at, weight_at, bias_at}, .writes = {dst_at}});
    t.add({.kind = &kFullyConnectedWeightGradient,
           .name = "test",
           .reads = {src_at, gradient},
           .writes = {weight_grad_at}});
    t.add({.kind = &kBiasGradient, .name = "test", .reads = {gradient}, .writes = {bias_grad_at}});
    t.add({.kind = &kFullyConnectedDataGradient,
           .name = "test",
           .reads = {gradient, weight_at},
           .writes = {src_grad_at}});
  }
  int64_t n, c, o;
  Trial t;
  Operand src_at, weight_at, bias_at, dst_at, src_grad_at, weight_grad_at, bias_grad_at;
  std::vector<double> src, weight, bias, dst_grad;
};

TEST_P(Layers, FullyConnectedIsThreeProducts) {
  for (const auto& [n, c, o] : {std::array<int64_t, 3>{4, 48, 10}, {1, 33, 1}, {3, 64, 1001}}) {
    Products p(GetParam(), n, c, o);
    p.t.run();
    // Operands are exact in both types and at most 1 in magnitude; sums are f32.
    const auto check = [](double value, double expected, int64_t terms) {
      ASSERT_NEAR(value, expected, static_cast<double>((terms + 1) * (terms + 1)) * rounding(Dtype::f32));
    };
    const auto at = [](const std::vector<double>& m, int64_t columns, int64_t row, int64_t column) {
      return m[static_cast<size_t>(row * columns + column)];
    };
    const std::vector<double> dst = p.t.get(p.dst_at), src_grad = p.t.get(p.src_grad_at),
                              weight_grad = p.t.get(p.weight_grad_at), bias_grad = p.t.get(p.bias_grad_at);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < o; ++k) {
        double sum = p.bias[static_cast<size_t>(k)];
        for (int64_t j = 0; j < c; ++j) sum += at(p.src, c, i, j) * at(p.weight, c, k, j);
        check(at(dst, o, i, k), sum, c);
      }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < c; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < o; ++k) sum += at(p.dst_grad, o, i, k) * at(p.weight, c, k, j);
        check(at(src_grad, c, i, j), sum, o);
      }
    for (int64_t k = 0; k < o; ++k) {
      double bias_sum = 0;
      for (int64_t i = 0; i < n; ++i) bias_sum += at(p.dst_grad, o, i, k);
      check(bias_grad[static_cast<size_t>(k)], bias_sum, n);
      for (int64_t j = 0; j < c; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += at(p.dst_grad, o, i, k) * at(p.src, c, i, j);
        check(at(weight_grad, c, k, j), sum, n);
      }
    }
  }
}

TEST_P(Layers, FullyConnectedTakesNewWeightsInTheNextRun) {
  Products p(GetParam(), 4, 48, 10);
  p.t.run();
  EXPECT_NE(p.t.get(p.src_grad_at, 0), 0);
  p.t.set(p.weight_at, 0);
  p.t.run();
  for (int64_t i = 0; i < 40; ++i) EXPECT_EQ(p.t.get(p.dst_at, i), p.bias[static_cast<size_t>(i % 10)]);
  for (const double value : p.t.get(p.src_grad_at)) EXPECT_EQ(value, 0);
}

// A gradient that a backend cannot add to the one before is refused, not lost.
TEST_P(Layers, FullyConnectedAddsItsGradientOrRefuses) {
  const int64_t n = 3, c = 20, o = 5;
  for (const Addend addend : {Addend::elsewhere, Addend::in_place}) {
    Numbers numbers(6);
    const std::vector<double> weight = numbers.vector(o * c), gradient = numbers.vector(n * o);
    Trial t(GetParam());
    const Contribution src_grad(t, t.matrix("src_grad", n, c), t.matrix("before", n, c), addend, numbers.vector(n * c));
    Node node{.kind = &kFullyConnectedDataGradient,
              .name = "test",
              .reads = {filled(t, t.matrix("dst_grad", n, o), gradient), filled(t, t.weights(o * c), weight)}};
    src_grad.read_in(node);
    src_grad.write_in(node);
    t.add(node);
    if (!t.backend().supported(t.program(), node)) {
      EXPECT_THROW(t.run(), Error);
      continue;
    }
    t.run();
    for (int64_t i = 0; i < n * c; ++i) {
      double sum = src_grad.before[static_cast<size_t>(i)];
      for (int64_t k = 0; k < o; ++k)
        sum += gradient[static_cast<size_t>(i / c * o + k)] * weight[static_cast<size_t>(k * c + i % c)];
      // Numbers of at most 1: o products and their sums, and the addend.
      ASSERT_NEAR(t.get(src_grad.result, i), sum, static_cast<double>((o + 2) * (o + 2)) * rounding(Dtype::f32));
    }
  }
}

TEST_P(Layers, GradientsOfSharedWeightsAreRefused) {
  for (const auto& [kind, result] : {std::pair{&kConvolutionWeightGradient, "weight_grad"},
                                     {&kFullyConnectedWeightGradient, "weight_grad"},
                                     {&kBiasGradient, "bias_grad"},
                                     {&kFinishGradient, "scale_grad"},
                                     {&kFinishGradient, "shift_grad"}}) {
    Trial t(GetParam());
    const Node plain{.kind = kind, .name = "test"};
    EXPECT_TRUE(t.backend().supported(t.program(), plain));
    Node node = plain;
    node.reads = {as(std::string(result) + "_addend", t.array("before", 4))};
    EXPECT_FALSE(t.backend().supported(t.program(), node)) << kind->name << " " << result;
  }
}

TEST(LayersReference, GradientsOfFullyConnectedMatchFiniteDifferences) {
  Products p(kReference, 3, 7, 4);
  p.t.run();
  const std::vector<double> by_src = p.t.get(p.src_grad_at), by_weight = p.t.get(p.weight_grad_at),
                            by_bias = p.t.get(p.bias_grad_at);
  FiniteDifferences differences(p.t, {{p.dst_at, p.dst_grad}});
  differences.check(p.src_at, by_src);
  differences.check(p.weight_at, by_weight);
  differences.check(p.bias_at, by_bias);
}

// ---- Loss

enum class LossNodes { loss, gradient, both };

struct LossProblem {
  LossProblem(const BackendCase& which, int64_t n_, int64_t classes_, double smoothing_,
              LossNodes nodes = LossNodes::both)
      : n(n_), classes(classes_), smoothing(smoothing_), t(which) {
    Numbers numbers(7);
    logits = numbers.vector(n * classes, -4, 4);
    logits_at = t.matrix("logits", n, classes);
    result = t.array("result", kWords);
    gradient = t.matrix("logits_grad", n, classes);
    const Operand labels = t.input("labels", {1, 1, 1, n}, Dtype::i32);
    const std::map<std::string, double> numbers_of_node = {{"smoothing", smoothing}};
    if (nodes != LossNodes::gradient)
      t.add({.kind = &kLoss,
             .name = "test",
             .reads = {logits_at, labels},
             .writes = {result},
             .numbers = numbers_of_node});
    if (nodes != LossNodes::loss)
      t.add({.kind = &kLossGradient,
             .name = "test",
             .reads = {logits_at, labels},
             .writes = {gradient},
             .numbers = numbers_of_node,
             .pass = Pass::backward});
  }
  void run(const std::vector<int32_t>& labels, float gradient_scale = 1) {
    t.set(logits_at, logits);
    t.run({.labels = labels, .gradient_scale = gradient_scale});
  }
  double log_sum(int64_t row) const {
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(logit(row, k));
    return std::log(sum);
  }
  double logit(int64_t row, int64_t k) const { return logits[static_cast<size_t>(row * classes + k)]; }
  double word(Word number) const { return t.get(result, number); }

  int64_t n, classes;
  double smoothing;
  Trial t;
  Operand logits_at, result, gradient;
  std::vector<double> logits;
};

TEST_P(Layers, LossIsCrossEntropyWithSmoothing) {
  for (const double smoothing : {0.0, 0.1})
    for (const int64_t classes : {1, 10, 1003}) {
      LossProblem p(GetParam(), 3, classes, smoothing);
      const std::vector<int32_t> labels = {0, -1, static_cast<int32_t>(classes - 1)};
      p.run(labels, 0.25f);
      double loss = 0;
      for (const int64_t row : {0, 2})
        for (int64_t k = 0; k < classes; ++k) {
          const double target = smoothing / static_cast<double>(classes) +
                                (k == labels[static_cast<size_t>(row)] ? 1.0 - smoothing : 0.0);
          const double log_probability = p.logit(row, k) - p.log_sum(row);
          loss -= target * log_probability;
          // exp is accurate to a few roundings of its argument, which is at most 8 in magnitude.
          ASSERT_NEAR(p.t.get(p.gradient, row * classes + k), 0.25 * (std::exp(log_probability) - target),
                      0.25 * 16 * rounding(Dtype::f32))
              << "row " << row << " class " << k;
        }
      EXPECT_EQ(p.word(kWordCounted), 2);
      EXPECT_NEAR(p.word(kWordLoss), loss,
                  static_cast<double>(classes) * 16 * rounding(Dtype::f32) + rounding(Dtype::f32) * loss);
      for (int64_t k = 0; k < classes; ++k) EXPECT_EQ(p.t.get(p.gradient, classes + k), 0);
    }
}

TEST_P(Layers, TopKCountsTheLogitsBeforeTheLabels) {
  LossProblem p(GetParam(), 7, 8, 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::vector<double>> rows = {
      {9, 1, 2, 3, 4, 5, 6, 7}, {1, 9, 8, 7, 6, 5, 4, 3},   {1, 9, 8, 7, 6, 0, 0, 0},  {5, 5, 0, 0, 0, 0, 0, 0},
      {5, 5, 0, 0, 0, 0, 0, 0}, {nan, 0, 0, 0, 0, 0, 0, 0}, {0, nan, 0, 0, 0, 0, 0, 0}};
  for (size_t row = 0; row < rows.size(); ++row)
    std::copy(rows[row].begin(), rows[row].end(), p.logits.begin() + static_cast<int64_t>(row * 8));
  // The label's rank: first, eighth, fifth, first of two equal, second of two equal, NaN itself, second after a NaN.
  p.run({0, 0, 0, 0, 1, 0, 0});
  EXPECT_EQ(p.word(kWordTop1), 2);
  EXPECT_EQ(p.word(kWordTop5), 5);
  EXPECT_TRUE(std::isnan(p.word(kWordLoss)));
}

TEST_P(Layers, LossHandlesHugeLogits) {
  LossProblem p(GetParam(), 1, 4, 0);
  p.logits = {1e4, -1e4, 0, 9e3};
  p.run({1});
  // exp(-1000) is 0: the loss is the difference of the logits, and the gradient is that of the two alone.
  EXPECT_NEAR(p.word(kWordLoss), 2e4, 2e4 * rounding(Dtype::f32));
  EXPECT_NEAR(p.t.get(p.gradient, 0), 1, 4 * rounding(Dtype::f32));
  EXPECT_NEAR(p.t.get(p.gradient, 1), -1, 4 * rounding(Dtype::f32));
}

// Fused on the CPU, where one pass over the logits does both.
TEST_P(Layers, LossAndItsGradientTogetherGiveTheBitsOfEach) {
  const std::vector<int32_t> labels = {3, -1, 0, 11};
  LossProblem both(GetParam(), 4, 37, 0.1), loss(GetParam(), 4, 37, 0.1, LossNodes::loss),
      gradient(GetParam(), 4, 37, 0.1, LossNodes::gradient);
  for (LossProblem* p : {&both, &loss, &gradient}) p->run(labels, 0.5f);
  EXPECT_EQ(both.t.get(both.result), loss.t.get(loss.result));
  EXPECT_EQ(both.t.get(both.gradient), gradient.t.get(gradient.gradient));
  if (GetParam().backend == "cpu") {
    ASSERT_EQ(both.t.compiled().nodes.size(), 1u);
    EXPECT_TRUE(both.t.compiled().nodes[0].is(cpu::kLossWithGradient));
    EXPECT_EQ(both.t.compiled().nodes[0].body.size(), 2u);
  }
}

TEST(LayersReference, GradientOfLossMatchesFiniteDifferences) {
  LossProblem p(kReference, 3, 5, 0.1);
  const std::vector<int32_t> labels = {3, -1, 1};
  p.run(labels);
  const std::vector<double> by_logits = p.t.get(p.gradient);
  FiniteDifferences(p.t, {{p.result, {1, 0, 0, 0}}}, {.labels = labels}).check(p.logits_at, by_logits);
}

// ---- Input, copies

TEST_P(Layers, InputSubtractsTheMeanAndFillsWithZeros) {
  const Shape shape{2, 4, 4, 3};
  const std::array<double, 3> mean = {1, 2, 3}, scale = {1, 0.5, 0.25};
  std::vector<uint8_t> pixels(48);
  std::iota(pixels.begin(), pixels.end(), uint8_t{100});
  Trial t(GetParam());
  const Operand dst = t.value("dst", shape);
  Node node{
      .kind = &kInput, .name = "test", .reads = {t.input("pixels", shape, Dtype::u8)}, .writes = {dst}, .numbers = {}};
  for (size_t c = 0; c < 3; ++c) {
    node.numbers["mean_" + std::to_string(c)] = mean[c];
    node.numbers["scale_" + std::to_string(c)] = scale[c];
  }
  t.add(node);
  t.run({.pixels = pixels});
  for (int64_t i = 0; i < 48; ++i) {
    const auto c = static_cast<size_t>(i % 3);
    const double expected = (pixels[static_cast<size_t>(i)] - mean[c]) * scale[c];
    EXPECT_NEAR(t.get(dst, i), expected, rounding(GetParam().dtype) * std::abs(expected));
    EXPECT_EQ(t.get(dst, 48 + i), 0);
  }
}

TEST_P(Layers, CopyKeepsF32AndRoundsToBf16) {
  constexpr int64_t kCount = 70001;  // more than one thread's piece, and a rest
  Trial t(GetParam());
  const Operand src = t.array("src", kCount), dst = t.array("dst", kCount, Dtype::bf16), same = t.array("same", kCount);
  t.add({.kind = &kCopy, .name = "rounded", .reads = {src}, .writes = {dst}});
  t.add({.kind = &kCopy, .name = "same", .reads = {src}, .writes = {as("dst", same)}});
  RandomStream random(8, RandomUse::test, 0, 0);
  std::vector<double> values(kCount);
  for (double& value : values) value = random.normal();
  t.set(src, values);
  t.run();
  EXPECT_EQ(t.get(same), t.get(src));
  const std::vector<double> found = t.get(dst);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(found[i], static_cast<float>(Bf16(static_cast<float>(values[i])))) << i;
}

INSTANTIATE_TEST_SUITE_P(Backends, Layers, testing::ValuesIn(backend_cases()), case_name);

TEST(Backends, SayWhatTheyCanCompute) {
  for (const std::string& name : backend_names()) {
    const std::vector<Dtype> types = backend_types(name);
    EXPECT_EQ(std::count(types.begin(), types.end(), Dtype::f32), 1) << name;  // what ranks that differ agree on
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      if (std::count(types.begin(), types.end(), dtype) > 0)
        EXPECT_NO_THROW(make_backend(name, {.dtype = dtype})) << name << " " << name_of(dtype);
      else
        EXPECT_THROW(make_backend(name, {.dtype = dtype}), Error) << name << " " << name_of(dtype);
    }
  }
  EXPECT_EQ(backend_types(""), backend_types(backend_names().front()));
  EXPECT_THROW(backend_types("abacus"), UsageError);
}

TEST(Backends, RefuseWhatTheyCannotCompute) {
  EXPECT_THROW(make_backend("reference", {.dtype = Dtype::bf16}), Error);
  EXPECT_THROW(make_backend("abacus", {}), UsageError);
}

// A kind that no backend knows, in a program: refused before the first run.
TEST_P(Layers, UnknownKindsAreRefused) {
  const NodeKind unknown{.name = "unknown"};
  Trial t(GetParam());
  t.add({.kind = &unknown, .name = "test", .reads = {t.array("src", 4)}, .writes = {t.array("dst", 4)}});
  EXPECT_THROW(t.run(), Error);
}

}  // namespace
}  // namespace packhorse

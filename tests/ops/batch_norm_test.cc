// Batch norm: each node alone against its formula, the CPU's fused gradient against the reference, gradients by finite
// differences; ranges of channels, addends, in place. kUnit is the rounding error of f32.
#include <algorithm>

#include "ops/addends.h"
#include "ops/cpu/rewrites.h"
#include "ops/finite_difference.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

const double kUnit = rounding(Dtype::f32);

const std::vector<Shape> kShapes = {{2, 5, 5, 16}, {1, 1, 2, 7}, {4, 14, 14, 80}, {3, 40, 40, 96}, {1, 7, 7, 144}};

// The error of a sum of f32 numbers is at most as many roundings of the sum of their magnitudes. Longer sums are added
// in f64, from parts of at most 4,096 pixels.
double roundings_of_sum(const Shape& shape) { return static_cast<double>(std::min<int64_t>(shape.pixels(), 4096)); }

struct Batch {
  explicit Batch(const Shape& s) : shape(s) {
    Numbers numbers(2);
    src = numbers.vector(shape.count());
    dst_grad = numbers.vector(shape.count());
    before = numbers.vector(shape.count());
    residual = numbers.vector(shape.count());
    scale = numbers.vector(shape.c, 0.5f, 1.5f);
    shift = numbers.vector(shape.c, -0.5f, 0.5f);
    // Any numbers do for a node alone. Products of bf16 numbers are exact in f32, so that ReLU decides as in f64.
    mean = numbers.vector(shape.c);
    variance = numbers.vector(shape.c, 0.5f, 2);
    a = numbers.vector(shape.c, 0.5f, 1.5f);
    b = numbers.vector(shape.c, -0.5f, 0.5f);
  }
  size_t channel(size_t i) const { return i % static_cast<size_t>(shape.c); }
  // True where ReLU lets src * a + b pass.
  bool passes(size_t i, bool relu) const { return !relu || src[i] * a[channel(i)] + b[channel(i)] > 0; }

  Shape shape;
  std::vector<double> src, dst_grad, before, residual, scale, shift, mean, variance, a, b;
};

Operand array_of(Trial& t, const std::string& name, const std::vector<double>& values, Dtype dtype = Dtype::f32) {
  return filled(t, t.array(name, static_cast<int64_t>(values.size()), dtype), values);
}

std::map<std::string, double> finish_numbers(const Shape& shape) {
  return {{"epsilon", kBatchNormEpsilon}, {"count", static_cast<double>(shape.pixels())}};
}

class BatchNorm : public testing::TestWithParam<BackendCase> {
 protected:
  double type() const { return rounding(GetParam().dtype); }
};

// ---- Nodes alone

struct Moments {
  std::vector<double> mean, variance;
};

Moments moments(const Batch& n) {
  const auto channels = static_cast<size_t>(n.shape.c);
  const auto pixels = static_cast<double>(n.shape.pixels());
  Moments m{std::vector<double>(channels, 0.0), std::vector<double>(channels, 0.0)};
  for (size_t i = 0; i < n.src.size(); ++i) m.mean[n.channel(i)] += n.src[i] / pixels;
  for (size_t i = 0; i < n.src.size(); ++i)
    m.variance[n.channel(i)] += std::pow(n.src[i] - m.mean[n.channel(i)], 2) / pixels;
  return m;
}

TEST_P(BatchNorm, StatisticsAreMeanAndVariance) {
  for (const Shape& shape : kShapes) {
    const Batch n(shape);
    Trial t(GetParam());
    const Operand src = filled(t, t.value("src", shape, 16), n.src), mean = t.array("mean", shape.c),
                  variance = t.array("variance", shape.c);
    t.add({.kind = &kStatistics, .name = "test", .reads = {src}, .writes = {mean, variance}});
    t.run();
    const Moments m = moments(n);
    const double sums = roundings_of_sum(shape) * kUnit;
    for (size_t c = 0; c < m.mean.size(); ++c) {
      // Values are in [-1, 1], differences in [-2, 2]: the variance is the difference of two sums of squares up to 4.
      ASSERT_NEAR(t.get(mean)[c], m.mean[c], 2 * sums);
      ASSERT_NEAR(t.get(variance)[c], m.variance[c], 8 * sums);
    }
    EXPECT_TRUE(t.gaps_untouched(src));
  }
}

TEST_P(BatchNorm, StatisticsAreExactEnoughIfTheMeanIsLarge) {
  const Shape shape{2, 20, 20, 32};
  Batch n(shape);
  // Integers near 200, exact in both types: f64 gives the exact means and variances.
  for (size_t i = 0; i < n.src.size(); ++i) n.src[i] = static_cast<double>(200 + (i * 7919 % 5));
  Trial t(GetParam());
  const Operand src = filled(t, t.value("src", shape), n.src), mean = t.array("mean", shape.c),
                variance = t.array("variance", shape.c);
  t.add({.kind = &kStatistics, .name = "test", .reads = {src}, .writes = {mean, variance}});
  t.run();
  const Moments m = moments(n);
  for (size_t c = 0; c < m.mean.size(); ++c) {
    EXPECT_NEAR(t.get(mean)[c], m.mean[c], 2 * 200 * kUnit);
    // Squares of differences up to 4, over all pixels.
    EXPECT_NEAR(t.get(variance)[c], m.variance[c], static_cast<double>(shape.pixels()) * 16 * kUnit);
  }
}

// a: variance + epsilon, epsilon itself (both halved by the root), the root, the quotient: 3 roundings. b: those of a,
// the product, the sum.
double error_of_a(double a) { return 4 * kUnit * std::abs(a); }
double error_of_b(double mean, double a, double shift) {
  return 6 * kUnit * std::abs(mean * a) + 2 * kUnit * std::abs(shift);
}

TEST_P(BatchNorm, FinishMakesAFactorAndAShift) {
  for (const Shape& shape : kShapes) {
    const Batch n(shape);
    Trial t(GetParam());
    const Operand a = t.array("a", shape.c), b = t.array("b", shape.c);
    t.add({.kind = &kFinish,
           .name = "test",
           .reads = {array_of(t, "mean", n.mean), array_of(t, "variance", n.variance), array_of(t, "scale", n.scale),
                     array_of(t, "shift", n.shift)},
           .writes = {a, b},
           .numbers = finish_numbers(shape)});
    t.run();
    for (size_t c = 0; c < n.mean.size(); ++c) {
      const double factor = n.scale[c] / std::sqrt(n.variance[c] + kBatchNormEpsilon);
      ASSERT_NEAR(t.get(a)[c], factor, error_of_a(factor));
      ASSERT_NEAR(t.get(b)[c], n.shift[c] - n.mean[c] * factor, error_of_b(n.mean[c], factor, n.shift[c]));
    }
  }
}

TEST_P(BatchNorm, ApplyScalesShiftsAndAddsTheResidual) {
  for (const Shape& shape : kShapes)
    for (const bool relu : {false, true})
      for (const bool with_residual : {false, true}) {
        const Batch n(shape);
        Trial t(GetParam());
        const Operand src = filled(t, t.value("src", shape, 16), n.src), dst = t.value("dst", shape, 8),
                      a = array_of(t, "a", n.a), b = array_of(t, "b", n.b),
                      residual = filled(t, t.value("residual", shape, 24), n.residual);
        Node apply{.kind = &kApply,
                   .name = "test",
                   .reads = {src, a, b},
                   .writes = {dst},
                   .numbers = {{"relu", relu ? 1.0 : 0.0}}};
        if (with_residual) apply.reads.push_back(residual);
        t.add(apply);
        t.run();
        const std::vector<double> found = t.get(dst);
        for (size_t i = 0; i < found.size(); ++i) {
          const double product = n.src[i] * n.a[n.channel(i)], shift = n.b[n.channel(i)], scaled = product + shift;
          const double value = scaled + (with_residual ? n.residual[i] : 0);
          // The product and the sum in f32; then the type's rounding, once more after the residual.
          const double allowed = 4 * kUnit * (std::abs(product) + std::abs(shift)) + type() * std::abs(scaled) +
                                 (with_residual ? type() * std::abs(value) : 0);
          ASSERT_NEAR(found[i], relu ? std::max(value, 0.0) : value, allowed * (1 + type()))
              << shape.c << " channels, relu " << relu << ", residual " << with_residual;
        }
        EXPECT_TRUE(t.gaps_untouched(dst) && t.gaps_untouched(src) && t.gaps_untouched(residual));
      }
}

// That apply and a following add are one node may not change a bit. (The CPU makes one of them.)
TEST_P(BatchNorm, ResidualIsAddedToTheRoundedValue) {
  const Shape shape{2, 5, 5, 40};
  const Batch n(shape);
  const auto apply_node = [&](Trial& t, const Operand& dst) {
    return Node{.kind = &kApply,
                .name = "test",
                .reads = {filled(t, t.value("src", shape), n.src), array_of(t, "a", n.a), array_of(t, "b", n.b)},
                .writes = {as("dst", dst)},
                .numbers = {{"relu", 0.0}}};
  };
  const auto add_node = [&](Trial& t, const Operand& scaled, const Operand& dst) {
    return Node{.kind = &kAdd,
                .name = "test",
                .reads = {as("a", scaled), as("b", filled(t, t.value("other", shape), n.residual))},
                .writes = {dst},
                .numbers = {{"relu", 1.0}}};
  };
  Trial apply(GetParam()), add(GetParam()), both(GetParam()), residual(GetParam());

  const Operand scaled = apply.value("scaled", shape), sum = add.value("dst", shape);
  apply.add(apply_node(apply, scaled));
  apply.run();
  add.add(add_node(add, filled(add, add.value("scaled", shape), apply.get(scaled)), sum));
  add.run();

  const Operand inner = both.inner("scaled", shape, both.dtype()), dst = both.value("dst", shape);
  both.add(apply_node(both, inner));
  both.add(add_node(both, inner, dst));
  both.run();
  EXPECT_EQ(both.get(dst), add.get(sum));
  if (GetParam().backend == "cpu") {
    ASSERT_EQ(both.compiled().nodes.size(), 1u);
    EXPECT_TRUE(both.compiled().nodes[0].is(kApply));
    EXPECT_NE(both.compiled().nodes[0].find("residual"), nullptr);
  }

  const Operand one = residual.value("dst", shape);
  Node node = apply_node(residual, one);
  node.reads.push_back(filled(residual, residual.value("residual", shape), n.residual));
  node.numbers["relu"] = 1;
  residual.add(node);
  residual.run();
  EXPECT_EQ(residual.get(one), add.get(sum));
}

TEST_P(BatchNorm, ApplyMayWriteOverWhatItReads) {
  const Shape shape{2, 5, 5, 40};
  const Batch n(shape);
  std::vector<std::vector<double>> results;
  for (const char* over : {"", "src", "residual"}) {
    Trial t(GetParam());
    const Operand src = filled(t, t.value("src", shape, 8), n.src),
                  residual = filled(t, t.value("residual", shape, 8), n.residual), apart = t.value("dst", shape, 8);
    Node node{.kind = &kApply,
              .name = "test",
              .reads = {src, array_of(t, "a", n.a), array_of(t, "b", n.b), residual},
              .numbers = {{"relu", 1.0}}};
    const Operand dst = *over == 0 ? apart : t.over(node.at(over), "dst");
    node.writes = {dst};
    if (*over != 0) node.in_place = {{"dst", over}};
    t.add(node);
    t.run();
    results.push_back(t.get(dst));
    EXPECT_TRUE(t.gaps_untouched(dst));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST_P(BatchNorm, ApplyWritesTheSameBitsAgain) {
  const Shape shape{2, 9, 9, 48};
  const Batch n(shape);
  Trial t(GetParam());
  const Operand src = filled(t, t.value("src", shape), n.src), a = array_of(t, "a", n.a), b = array_of(t, "b", n.b);
  const Operand first = t.value("first", shape), again = t.value("again", shape, 8);
  for (const Operand& dst : {first, again})
    t.add({.kind = &kApply,
           .name = "test",
           .reads = {src, a, b},
           .writes = {as("dst", dst)},
           .numbers = {{"relu", 1.0}}});
  t.run();
  EXPECT_EQ(t.get(first), t.get(again));
}

TEST_P(BatchNorm, InferenceUsesTheRunningStatistics) {
  const Shape shape{2, 3, 3, 48};
  const Batch n(shape);
  Trial t(GetParam());
  const Operand src = filled(t, t.value("src", shape, 8), n.src), dst = t.value("dst", shape, 8),
                a = t.inner("a", {1, 1, 1, shape.c}, Dtype::f32), b = t.inner("b", {1, 1, 1, shape.c}, Dtype::f32);
  t.add({.kind = &kFinish,
         .name = "test",
         .reads = {as("mean", array_of(t, "running_mean", n.mean)),
                   as("variance", array_of(t, "running_variance", n.variance)), array_of(t, "scale", n.scale),
                   array_of(t, "shift", n.shift)},
         .writes = {a, b},
         .numbers = finish_numbers(shape)});
  t.add({.kind = &kApply, .name = "test", .reads = {src, a, b}, .writes = {dst}, .numbers = {{"relu", 1.0}}});
  t.run();
  for (size_t i = 0; i < n.src.size(); ++i) {
    const size_t c = n.channel(i);
    const double factor = n.scale[c] / std::sqrt(n.variance[c] + kBatchNormEpsilon);
    const double value = (n.src[i] - n.mean[c]) * factor + n.shift[c];
    const double product = std::abs(n.src[i] * factor);
    const double allowed = type() * std::abs(value) + error_of_a(product) + error_of_b(n.mean[c], factor, n.shift[c]) +
                           4 * kUnit * (product + std::abs(n.shift[c] - n.mean[c] * factor));
    ASSERT_NEAR(t.get(dst, static_cast<int64_t>(i)), std::max(value, 0.0), allowed * (1 + type()));
  }
}

TEST_P(BatchNorm, ApplyGradientIsScaledAndSummed) {
  for (const Shape& shape : kShapes)
    for (const bool relu : {false, true})
      for (const Addend addend : kAddends) {
        const Batch n(shape);
        Trial t(GetParam());
        const Operand dst_grad = filled(t, t.value("dst_grad", shape, 8), n.dst_grad),
                      src = filled(t, t.value("src", shape, 16), n.src),
                      a_grad = t.array("a_grad", shape.c, Dtype::f64), b_grad = t.array("b_grad", shape.c, Dtype::f64);
        const Contribution src_grad(t, t.value("src_grad", shape, 24), t.value("before", shape), addend, n.before);
        Node node{.kind = &kApplyGradient,
                  .name = "test",
                  .reads = {dst_grad, src, array_of(t, "a", n.a), array_of(t, "b", n.b)},
                  .writes = {a_grad, b_grad},
                  .numbers = {{"relu", relu ? 1.0 : 0.0}}};
        src_grad.read_in(node);
        src_grad.write_in(node);
        t.add(node);
        t.run();
        std::vector<double> product(n.a.size()), sum(product), product_size(product), sum_size(product);
        const std::vector<double> found = t.get(src_grad.result);
        for (size_t i = 0; i < found.size(); ++i) {
          const size_t c = n.channel(i);
          const double g = n.passes(i, relu) ? n.dst_grad[i] : 0;
          product[c] += g * n.src[i];
          sum[c] += g;
          product_size[c] += std::abs(g * n.src[i]);
          sum_size[c] += std::abs(g);
          const double own = n.a[c] * g, value = own + src_grad.before[i];
          ASSERT_NEAR(
              found[i], value,
              (type() * std::abs(value) + 2 * kUnit * (std::abs(own) + std::abs(src_grad.before[i]))) * (1 + type()) +
                  smallest_rounding(GetParam().dtype))
              << shape.c << " channels, relu " << relu << ", " << addend;
        }
        for (size_t c = 0; c < sum.size(); ++c) {
          // One rounding more for each product.
          ASSERT_NEAR(t.get(a_grad)[c], product[c], (roundings_of_sum(shape) + 1) * kUnit * product_size[c]);
          ASSERT_NEAR(t.get(b_grad)[c], sum[c], roundings_of_sum(shape) * kUnit * sum_size[c]);
        }
        EXPECT_TRUE(t.gaps_untouched(src_grad.result) && t.gaps_untouched(src) && t.gaps_untouched(dst_grad));
      }
}

// The sums over pixels may be all that is asked for, where no gradient flows on to the source.
TEST_P(BatchNorm, ApplyGradientWithoutTheSourcesGradient) {
  const Shape shape{2, 5, 5, 16};
  const Batch n(shape);
  std::vector<std::vector<double>> sums;
  for (const bool with_src_grad : {false, true}) {
    Trial t(GetParam());
    const Operand a_grad = t.array("a_grad", shape.c, Dtype::f64), b_grad = t.array("b_grad", shape.c, Dtype::f64);
    Node node{.kind = &kApplyGradient,
              .name = "test",
              .reads = {filled(t, t.value("dst_grad", shape), n.dst_grad), filled(t, t.value("src", shape), n.src),
                        array_of(t, "a", n.a), array_of(t, "b", n.b)},
              .writes = {a_grad, b_grad},
              .numbers = {{"relu", 1.0}}};
    if (with_src_grad) node.writes.push_back(t.value("src_grad", shape));
    t.add(node);
    t.run();
    sums.push_back(t.get(a_grad));
    sums.push_back(t.get(b_grad));
  }
  EXPECT_EQ(sums[0], sums[2]);
  EXPECT_EQ(sums[1], sums[3]);
}

TEST_P(BatchNorm, FinishGradientIsItsFormula) {
  for (const Shape& shape : kShapes)
    for (const bool to_statistics : {false, true}) {
      const Batch n(shape);
      Trial t(GetParam());
      const Operand scale_grad = t.array("scale_grad", shape.c), shift_grad = t.array("shift_grad", shape.c),
                    k = t.array("k", shape.c), l = t.array("l", shape.c);
      Node node{
          .kind = &kFinishGradient,
          .name = "test",
          .reads = {array_of(t, "a_grad", n.a, Dtype::f64), array_of(t, "b_grad", n.b, Dtype::f64),
                    array_of(t, "mean", n.mean), array_of(t, "variance", n.variance), array_of(t, "scale", n.scale)},
          .writes = {scale_grad, shift_grad},
          .numbers = finish_numbers(shape)};
      if (to_statistics) node.writes.insert(node.writes.end(), {k, l});
      t.add(node);
      t.run();
      for (size_t c = 0; c < n.a.size(); ++c) {
        const double root = std::sqrt(n.variance[c] + kBatchNormEpsilon), centred = n.a[c] - n.mean[c] * n.b[c];
        const double count = static_cast<double>(shape.pixels());
        // Sums are f64; epsilon may be f32, which counts half a rounding for each root; one for the result.
        const auto check = [&](const Operand& operand, double expected) {
          ASSERT_NEAR(t.get(operand)[c], expected, 3 * kUnit * std::abs(expected)) << operand.role;
        };
        check(shift_grad, n.b[c]);
        check(scale_grad, centred / root);
        if (!to_statistics) continue;
        check(k, -n.scale[c] * centred / std::pow(root, 3) / count);
        check(l, -n.scale[c] * n.b[c] / root / count);
      }
    }
}

TEST_P(BatchNorm, StatisticsGradientIsLinearInTheSource) {
  for (const Shape& shape : kShapes)
    for (const Addend addend : kAddends) {
      const Batch n(shape);
      Trial t(GetParam());
      const Operand src = filled(t, t.value("src", shape, 16), n.src);
      const Contribution src_grad(t, t.value("src_grad", shape, 24), t.value("before", shape), addend, n.before);
      Node node{.kind = &kStatisticsGradient,
                .name = "test",
                .reads = {src, array_of(t, "mean", n.mean), array_of(t, "k", n.a), array_of(t, "l", n.b)}};
      src_grad.read_in(node);
      src_grad.write_in(node);
      t.add(node);
      t.run();
      const std::vector<double> found = t.get(src_grad.result);
      for (size_t i = 0; i < found.size(); ++i) {
        const size_t c = n.channel(i);
        const double slope = n.a[c] * (n.src[i] - n.mean[c]), value = slope + n.b[c] + src_grad.before[i];
        // The difference, the product and two sums in f32.
        const double in_f32 = 4 * kUnit * (std::abs(slope) + std::abs(n.b[c]) + std::abs(src_grad.before[i]));
        ASSERT_NEAR(found[i], value, (type() * std::abs(value) + in_f32) * (1 + type()))
            << shape.c << " channels, " << addend;
      }
      EXPECT_TRUE(t.gaps_untouched(src_grad.result) && t.gaps_untouched(src));
    }
}

// ---- The forward pass as a whole

struct Forward {
  Forward(const BackendCase& c, const Batch& n, int64_t gap, bool relu)
      : t(c),
        src(filled(t, t.value("src", n.shape, gap), n.src)),
        dst(t.value("dst", n.shape, gap)),
        mean(t.array("mean", n.shape.c)),
        variance(t.array("variance", n.shape.c)),
        scale(array_of(t, "scale", n.scale)),
        shift(array_of(t, "shift", n.shift)),
        a(t.array("a", n.shape.c)),
        b(t.array("b", n.shape.c)) {
    t.add({.kind = &kStatistics, .name = "test", .reads = {src}, .writes = {mean, variance}});
    t.add({.kind = &kFinish,
           .name = "test",
           .reads = {mean, variance, scale, shift},
           .writes = {a, b},
           .numbers = finish_numbers(n.shape)});
    t.add({.kind = &kApply,
           .name = "test",
           .reads = {src, a, b},
           .writes = {dst},
           .numbers = {{"relu", relu ? 1.0 : 0.0}}});
  }
  Trial t;
  Operand src, dst, mean, variance, scale, shift, a, b;
};

TEST_P(BatchNorm, ForwardAgreesWithTheReference) {
  for (const Shape& shape : kShapes)
    for (const bool relu : {false, true}) {
      const Batch n(shape);
      Forward p(GetParam(), n, 16, relu), truth(kReference, n, 0, relu);
      p.t.run();
      truth.t.run();
      const std::vector<double> found = p.t.get(p.dst), expected = truth.t.get(truth.dst),
                                mean = truth.t.get(truth.mean), variance = truth.t.get(truth.variance);
      for (size_t i = 0; i < found.size(); ++i) {
        const size_t c = n.channel(i);
        const double factor = n.scale[c] / std::sqrt(variance[c] + kBatchNormEpsilon), product = n.src[i] * factor;
        const double normal = (n.src[i] - mean[c]) * factor, y = normal + n.shift[c];
        // The errors of the statistics, see above, and what they do to y; both sides round a, b, the product and y.
        const double sums = roundings_of_sum(shape) * kUnit;
        const double statistics =
            2 * sums * factor + std::abs(normal) * 8 * sums / 2 / (variance[c] + kBatchNormEpsilon);
        const double nodes = error_of_a(product) + error_of_b(mean[c], factor, n.shift[c]) +
                             4 * kUnit * (std::abs(product) + std::abs(y));
        ASSERT_NEAR(found[i], expected[i], (type() * std::abs(y) + statistics + 2 * nodes) * (1 + type()))
            << shape.c << " channels, relu " << relu;
      }
      EXPECT_TRUE(p.t.gaps_untouched(p.dst) && p.t.gaps_untouched(p.src));
    }
}

// ---- The gradient as a whole: fused on the CPU

// The three gradient nodes, between statistics that are given and the gradients of source, scale and shift.
struct Backward {
  Backward(const BackendCase& c, const Batch& n, int64_t gap, bool relu, Addend addend, bool over_src = false) : t(c) {
    const auto channels = [&](const char* name, Dtype dtype) { return t.inner(name, {1, 1, 1, n.shape.c}, dtype); };
    dst_grad = filled(t, t.value("dst_grad", n.shape, gap), n.dst_grad);
    src = filled(t, t.value("src", n.shape, gap), n.src);
    const Operand a = array_of(t, "a", n.a), b = array_of(t, "b", n.b), mean = array_of(t, "mean", n.mean),
                  variance = array_of(t, "variance", n.variance), scale = array_of(t, "scale", n.scale);
    scale_grad = t.array("scale_grad", n.shape.c);
    shift_grad = t.array("shift_grad", n.shape.c);
    const Operand a_grad = channels("a_grad", Dtype::f64), b_grad = channels("b_grad", Dtype::f64),
                  k = channels("k", Dtype::f32), l = channels("l", Dtype::f32);
    const Operand scaled = t.inner("scaled", n.shape, c.dtype);
    const Contribution last(t, t.value("src_grad", n.shape, gap), t.value("before", n.shape, gap), addend, n.before);
    before = last.before;
    src_grad = over_src ? t.over(src, "src_grad") : last.result;

    Node apply{.kind = &kApplyGradient,
               .name = "test",
               .reads = {dst_grad, src, a, b},
               .writes = {as("src_grad", scaled), a_grad, b_grad},
               .numbers = {{"relu", relu ? 1.0 : 0.0}},
               .pass = Pass::backward};
    last.read_in(apply);
    t.add(apply);
    t.add({.kind = &kFinishGradient,
           .name = "test",
           .reads = {a_grad, b_grad, mean, variance, scale},
           .writes = {scale_grad, shift_grad, k, l},
           .numbers = finish_numbers(n.shape),
           .pass = Pass::backward});
    t.add({.kind = &kStatisticsGradient,
           .name = "test",
           .reads = {src, mean, k, l, as("src_grad_addend", scaled)},
           .writes = {src_grad},
           .in_place = {{"src_grad", "src_grad_addend"}},
           .pass = Pass::backward});
  }
  Trial t;
  Operand dst_grad, src, scale_grad, shift_grad, src_grad;
  std::vector<double> before;
};

// Numbers with the batch's own statistics, as the reference computes them.
Batch of_a_batch(const Shape& shape) {
  Batch n(shape);
  Forward forward(kReference, n, 0, false);
  forward.t.run();
  n.mean = forward.t.get(forward.mean);
  n.variance = forward.t.get(forward.variance);
  n.a = forward.t.get(forward.a);
  n.b = forward.t.get(forward.b);
  // Rounding must not decide what ReLU lets pass, or a test would compare unlike sums.
  for (size_t i = 0; i < n.src.size(); ++i) {
    const double product = n.src[i] * n.a[n.channel(i)], by = n.b[n.channel(i)];
    if (std::abs(product + by) <= 2 * kUnit * (std::abs(product) + std::abs(by)))
      ADD_FAILURE() << "choose other numbers";
  }
  return n;
}

// Checks the gradients of a backend against the reference's; the test with finite differences checks the reference.
void expect_like_the_reference(Backward& p, Backward& truth, const Batch& n, bool relu, const std::string& what) {
  SCOPED_TRACE(what);
  p.t.run();
  truth.t.run();
  std::vector<double> sum_size(n.a.size()), product_size(n.a.size());
  for (size_t i = 0; i < n.src.size(); ++i) {
    const size_t c = n.channel(i);
    const double g = n.passes(i, relu) ? std::abs(n.dst_grad[i]) : 0;
    sum_size[c] += g;
    product_size[c] += g * std::abs(n.src[i] - n.mean[c]);
  }
  // Of the sum of g * (src - mean): the sum's, the difference's, the product's; a few more for what it is multiplied
  // by: the inverse root (one half for each rounding of epsilon), a (4, see above), and the result.
  const double sums = roundings_of_sum(n.shape) * kUnit, products = sums + 8 * kUnit;
  std::vector<double> k_error(n.a.size()), l_error(n.a.size());
  for (size_t c = 0; c < n.a.size(); ++c) {
    const double square = n.variance[c] + kBatchNormEpsilon, count = static_cast<double>(n.shape.pixels());
    ASSERT_NEAR(p.t.get(p.shift_grad)[c], truth.t.get(truth.shift_grad)[c], (sums + 2 * kUnit) * sum_size[c]);
    ASSERT_NEAR(p.t.get(p.scale_grad)[c], truth.t.get(truth.scale_grad)[c],
                products * product_size[c] / std::sqrt(square));
    k_error[c] = n.a[c] / square / count * products * product_size[c];
    l_error[c] = n.a[c] / count * (sums + 8 * kUnit) * sum_size[c];
  }
  const double type = rounding(p.t.dtype());
  const std::vector<double> found = p.t.get(p.src_grad), expected = truth.t.get(truth.src_grad);
  for (size_t i = 0; i < found.size(); ++i) {
    const size_t c = n.channel(i);
    const double centred = std::abs(n.src[i] - n.mean[c]), square = n.variance[c] + kBatchNormEpsilon;
    const double count = static_cast<double>(n.shape.pixels());
    // What is added, at most; each side rounds each part and each sum in f32.
    const double parts = n.a[c] * std::abs(n.dst_grad[i]) + n.a[c] / square / count * product_size[c] * centred +
                         n.a[c] / count * sum_size[c] + std::abs(p.before[i]);
    // Where the three nodes are not one, the scaled gradient is rounded to its type between them.
    const bool fused = p.t.compiled().nodes.size() == 1;
    const double between = fused ? 0 : type * (n.a[c] * std::abs(n.dst_grad[i]) + std::abs(p.before[i]));
    const double allowed =
        type * std::abs(expected[i]) + between + k_error[c] * centred + l_error[c] + 2 * 4 * kUnit * parts;
    ASSERT_NEAR(found[i], expected[i], allowed * (1 + type)) << "at " << i;
  }
  EXPECT_TRUE(p.t.gaps_untouched(p.src_grad) && p.t.gaps_untouched(p.src));
}

TEST_P(BatchNorm, GradientAgreesWithTheReference) {
  for (const Shape& shape : kShapes) {
    const Batch n = of_a_batch(shape);
    for (const bool relu : {false, true})
      for (const Addend addend : kAddends) {
        Backward p(GetParam(), n, 16, relu, addend), truth(kReference, n, 0, relu, addend);
        std::ostringstream what;
        what << shape.c << " channels, relu " << relu << ", " << addend;
        expect_like_the_reference(p, truth, n, relu, what.str());
        if (GetParam().backend != "cpu") continue;
        ASSERT_EQ(p.t.compiled().nodes.size(), 1u);
        EXPECT_TRUE(p.t.compiled().nodes[0].is(cpu::kBatchNormGradient));
        EXPECT_EQ(p.t.compiled().nodes[0].body.size(), 3u);
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BatchNorm, testing::ValuesIn(backend_cases()), case_name);

class BatchNormInPlace : public testing::TestWithParam<BackendCase> {};

// Fused, the gradient may lie where the source lies.
TEST_P(BatchNormInPlace, GradientOverTheSource) {
  for (const Shape& shape : kShapes) {
    const Batch n = of_a_batch(shape);
    for (const bool relu : {false, true}) {
      Backward p(GetParam(), n, 16, relu, Addend::none, true), truth(kReference, n, 0, relu, Addend::none);
      expect_like_the_reference(p, truth, n, relu, std::to_string(shape.c) + " channels");
    }
  }
}

// With an addend it lies at the addend's place or at neither: the kernel adds to what is there already.
TEST_P(BatchNormInPlace, NotOverTheSourceWithAnAddend) {
  const Batch n = of_a_batch(kShapes[0]);
  EXPECT_THROW(Backward(GetParam(), n, 0, true, Addend::elsewhere, true).t.run(), Error);
}

// Plain nodes would read the source after they have written over it.
TEST(BatchNormReference, RefusesTheGradientOverTheSource) {
  const Batch n = of_a_batch(kShapes[0]);
  EXPECT_THROW(Backward(kReference, n, 0, true, Addend::none, true).t.run(), Error);
}

std::vector<BackendCase> cpu_cases() {
  std::vector<BackendCase> cases = backend_cases();
  std::erase_if(cases, [](const BackendCase& c) { return c.backend != "cpu"; });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cpu, BatchNormInPlace, testing::ValuesIn(cpu_cases()), case_name);

// ---- Gradients of the reference by finite differences

const Shape kSmall{2, 3, 3, 6};

// Far from the kink of ReLU on either side: shifts of 5 keep a whole channel positive or negative.
void move_from_the_kink(std::vector<double>& shift) {
  for (size_t c = 0; c < shift.size(); ++c) shift[c] = c % 2 == 0 ? 5 : -5;
}

TEST(BatchNormReference, GradientsOfTheWholeMatchFiniteDifferences) {
  for (const bool relu : {false, true}) {
    Batch n(kSmall);
    if (relu) move_from_the_kink(n.shift);
    Forward p(kReference, n, 0, relu);
    p.t.run();
    n.mean = p.t.get(p.mean);
    n.variance = p.t.get(p.variance);
    n.a = p.t.get(p.a);
    n.b = p.t.get(p.b);
    Backward gradient(kReference, n, 0, relu, Addend::none);
    gradient.t.run();
    // y = a * src + b: the values between round too. The mean and b move y by a and by itself, half the variance's
    // relative error moves a.
    const double a = *std::max_element(n.a.begin(), n.a.end());
    double b = 0;
    for (const double value : n.b) b = std::max(b, std::abs(value));
    FiniteDifferences differences(p.t, {{p.dst, n.dst_grad, kUnit * (4 * a + 2 * b + 5)}});
    differences.check(p.src, gradient.t.get(gradient.src_grad), 5);
    differences.check(p.scale, gradient.t.get(gradient.scale_grad));
    differences.check(p.shift, gradient.t.get(gradient.shift_grad));
  }
}

TEST(BatchNormReference, GradientOfStatisticsMatchesFiniteDifferences) {
  const Batch n(kSmall);
  Trial t(kReference);
  const Operand src = filled(t, t.value("src", kSmall), n.src), mean = t.array("mean", kSmall.c),
                variance = t.array("variance", kSmall.c), src_grad = t.value("src_grad", kSmall);
  // L = sum of a * variance + b * mean.
  const auto count = static_cast<double>(kSmall.pixels());
  std::vector<double> k = n.a, l = n.b;
  for (double& value : k) value *= 2 / count;
  for (double& value : l) value /= count;
  t.add({.kind = &kStatistics, .name = "test", .reads = {src}, .writes = {mean, variance}});
  t.add({.kind = &kStatisticsGradient,
         .name = "test",
         .reads = {src, mean, array_of(t, "k", k), array_of(t, "l", l)},
         .writes = {src_grad}});
  t.run();
  const std::vector<double> by_src = t.get(src_grad);
  FiniteDifferences(t, {{variance, n.a}, {mean, n.b}}).check(src, by_src);
}

TEST(BatchNormReference, GradientOfFinishMatchesFiniteDifferences) {
  const Batch n(kSmall);
  Trial t(kReference);
  const Operand mean = array_of(t, "mean", n.mean), variance = array_of(t, "variance", n.variance),
                scale = array_of(t, "scale", n.scale), shift = array_of(t, "shift", n.shift),
                a = t.array("a", kSmall.c), b = t.array("b", kSmall.c), scale_grad = t.array("scale_grad", kSmall.c),
                shift_grad = t.array("shift_grad", kSmall.c), k = t.array("k", kSmall.c), l = t.array("l", kSmall.c);
  t.add({.kind = &kFinish,
         .name = "test",
         .reads = {mean, variance, scale, shift},
         .writes = {a, b},
         .numbers = finish_numbers(kSmall)});
  t.add(
      {.kind = &kFinishGradient,
       .name = "test",
       .reads = {array_of(t, "a_grad", n.a, Dtype::f64), array_of(t, "b_grad", n.b, Dtype::f64), mean, variance, scale},
       .writes = {scale_grad, shift_grad, k, l},
       .numbers = finish_numbers(kSmall)});
  t.run();
  // k and l are what reaches each pixel; the sums over all pixels are the gradients of variance (half) and mean.
  std::vector<double> by_variance = t.get(k), by_mean = t.get(l);
  for (double& value : by_variance) value *= static_cast<double>(kSmall.pixels()) / 2;
  for (double& value : by_mean) value *= static_cast<double>(kSmall.pixels());
  const std::vector<double> by_scale = t.get(scale_grad), by_shift = t.get(shift_grad);
  FiniteDifferences differences(t, {{a, n.a}, {b, n.b}});
  differences.check(variance, by_variance);
  differences.check(mean, by_mean);
  differences.check(scale, by_scale);
  differences.check(shift, by_shift);
}

TEST(BatchNormReference, GradientOfApplyMatchesFiniteDifferences) {
  for (const bool relu : {false, true})
    for (const bool with_residual : {false, true}) {
      Batch n(kSmall);
      if (relu) move_from_the_kink(n.b);
      Trial t(kReference);
      const Operand src = filled(t, t.value("src", kSmall), n.src), dst = t.value("dst", kSmall),
                    residual = filled(t, t.value("residual", kSmall), n.residual), a = array_of(t, "a", n.a),
                    b = array_of(t, "b", n.b), src_grad = t.value("src_grad", kSmall),
                    residual_grad = t.value("residual_grad", kSmall), a_grad = t.array("a_grad", kSmall.c, Dtype::f64),
                    b_grad = t.array("b_grad", kSmall.c, Dtype::f64);
      Node forward{.kind = &kApply,
                   .name = "test",
                   .reads = {src, a, b},
                   .writes = {dst},
                   .numbers = {{"relu", relu ? 1.0 : 0.0}}};
      Node gradient{.kind = &kApplyGradient,
                    .name = "test",
                    .reads = {filled(t, t.value("dst_grad", kSmall), n.dst_grad), src, a, b},
                    .writes = {src_grad, a_grad, b_grad},
                    .numbers = forward.numbers};
      if (with_residual) {
        forward.reads.push_back(residual);
        gradient.reads.push_back(residual);
        gradient.writes.push_back(residual_grad);
      }
      t.add(forward);
      t.add(gradient);
      t.run();
      const std::vector<double> by_src = t.get(src_grad), by_a = t.get(a_grad), by_b = t.get(b_grad),
                                by_residual = t.get(residual_grad);
      // Before the residual is added the value is rounded: at most 1.5 * 1 + 5.
      FiniteDifferences differences(t, {{dst, n.dst_grad, with_residual ? 6.5 * kUnit : 0}});
      differences.check(src, by_src);
      differences.check(a, by_a);
      differences.check(b, by_b);
      if (with_residual) differences.check(residual, by_residual);
    }
}

}  // namespace
}  // namespace packhorse

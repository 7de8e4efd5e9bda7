// Batch norm: statistics, forward and backward pass, gradients by formula and by finite differences, ranges of
// channels, in place.
#include <functional>

#include "ops/cases.h"

namespace packhorse {
namespace {

struct Problem {
  Problem(Shape shape, Dtype dtype, int64_t gap, float low = -1, float high = 1)
      : src(shape, dtype, gap), dst(shape, dtype, gap), src_grad(shape, dtype, gap), dst_grad(shape, dtype, gap) {
    Numbers numbers(2);
    numbers.fill(src, low, high);
    numbers.fill(dst_grad);
    numbers.fill(src_grad);
    scale = numbers.vector(shape.c, 0.5f, 1.5f);
    shift = numbers.vector(shape.c, -0.5f, 0.5f);
    for (auto* values : {&scale_grad, &shift_grad, &mean, &variance}) values->assign(scale.size(), 77.0f);
    running_mean = numbers.vector(shape.c);
    running_variance = numbers.vector(shape.c, 0.5f, 2);
  }
  BatchNormTask task(bool relu, bool in_place = false, bool accumulate = false) {
    return {.src = src.view(),
            .dst = dst.view(),
            .src_grad = {in_place ? src.view() : src_grad.view(), accumulate},
            .dst_grad = dst_grad.view(),
            .relu = relu,
            .scale = scale.data(),
            .shift = shift.data(),
            .scale_grad = scale_grad.data(),
            .shift_grad = shift_grad.data(),
            .running_mean = running_mean.data(),
            .running_variance = running_variance.data(),
            .batch_mean = mean.data(),
            .batch_variance = variance.data()};
  }
  int64_t channels() const { return src.view().shape.c; }
  Field src, dst, src_grad, dst_grad;
  std::vector<float> scale, shift, scale_grad, shift_grad, mean, variance, running_mean, running_variance;
};

const std::vector<Shape> kShapes = {{2, 5, 5, 16}, {1, 1, 2, 7}, {4, 14, 14, 80}, {3, 40, 40, 96}, {1, 7, 7, 144}};

// How much a rounding error of a value may grow: the value is divided by the root of the variance and multiplied by the
// scale.
double amplified(const Problem& truth, int64_t i) {
  const auto c = static_cast<size_t>(i % truth.channels());
  return truth.scale[c] / std::sqrt(truth.variance[c] + kBatchNormEpsilon);
}

class BatchNorm : public testing::TestWithParam<BackendCase> {};

// Checks everything against the reference on the same numbers; the test with finite differences checks the reference.
TEST_P(BatchNorm, AgreesWithTheReference) {
  const double type = rounding(GetParam().dtype), f32 = rounding(Dtype::f32);
  for (const Shape& shape : kShapes)
    for (const bool relu : {false, true})
      for (const bool in_place : {false, true}) {
        Problem p(shape, GetParam().dtype, 16), truth(shape, Dtype::f32, 0);
        Bench bench(GetParam()), reference("reference", Dtype::f32);
        const auto operation = bench.make(p.task(relu, in_place));
        const auto expected = reference.make(truth.task(relu));
        for (const auto* o : {&operation, &expected}) {
          (*o)->forward(Phase::training);
          (*o)->backward();
        }
        const auto pixels = static_cast<double>(shape.pixels());
        for (int64_t c = 0; c < shape.c; ++c) {
          const auto i = static_cast<size_t>(c);
          // Values are in [-1, 1]; the error of a chunk's sum of up to 4,096 numbers is less than as many roundings.
          const double sums = std::min(pixels, 4096.0) * f32;
          ASSERT_NEAR(p.mean[i], truth.mean[i], 2 * sums);
          ASSERT_NEAR(p.variance[i], truth.variance[i], 8 * sums);
          ASSERT_NEAR(p.shift_grad[i], truth.shift_grad[i], pixels * 2 * sums);
          const double root = std::sqrt(truth.variance[i] + kBatchNormEpsilon);
          ASSERT_NEAR(p.scale_grad[i], truth.scale_grad[i], pixels * 8 * sums / root);
        }
        for (int64_t i = 0; i < p.src.count(); ++i) {
          const double y = truth.dst.get(i);
          ASSERT_NEAR(p.dst.get(i), y, type * std::abs(y) + 64 * f32 * (1 + std::abs(y)) * amplified(truth, i))
              << "shape of " << shape.c << " channels, relu " << relu;
          const double gradient = truth.src_grad.get(i);
          ASSERT_NEAR((in_place ? p.src : p.src_grad).get(i), gradient,
                      type * std::abs(gradient) + 4096 * f32 * amplified(truth, i))
              << "shape of " << shape.c << " channels, relu " << relu << " in place " << in_place;
        }
        EXPECT_TRUE(p.dst.gaps_untouched() && p.src_grad.gaps_untouched() && p.src.gaps_untouched());
      }
}

TEST_P(BatchNorm, StatisticsAreExactEnoughIfTheMeanIsLarge) {
  const Shape shape{2, 20, 20, 32};
  Problem p(shape, GetParam().dtype, 0);
  // Integers near 200, exact in both types: f64 gives the exact means and variances.
  p.src.fill([](int64_t i) { return static_cast<float>(200 + (i * 7919 % 5)); });
  Bench bench(GetParam());
  bench.make(p.task(true))->forward(Phase::training);
  for (int64_t c = 0; c < shape.c; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = c; i < p.src.count(); i += shape.c) sum += p.src.get(i) - 200;
    const double mean = sum / static_cast<double>(shape.pixels());
    for (int64_t i = c; i < p.src.count(); i += shape.c) squares += std::pow(p.src.get(i) - 200 - mean, 2);
    const double variance = squares / static_cast<double>(shape.pixels());
    EXPECT_NEAR(p.mean[static_cast<size_t>(c)], 200 + mean, 2 * 200 * rounding(Dtype::f32));
    EXPECT_NEAR(p.variance[static_cast<size_t>(c)], variance, 800 * rounding(Dtype::f32) * 16);
  }
}

TEST_P(BatchNorm, InferenceUsesTheRunningStatistics) {
  Problem p({2, 3, 3, 48}, GetParam().dtype, 8);
  Bench bench(GetParam());
  bench.make(p.task(true))->forward(Phase::inference);
  for (int64_t i = 0; i < p.src.count(); ++i) {
    const auto c = static_cast<size_t>(i % p.channels());
    const double normal = (p.src.get(i) - p.running_mean[c]) / std::sqrt(p.running_variance[c] + kBatchNormEpsilon);
    const double value = p.scale[c] * normal + p.shift[c];
    const double magnitude = std::abs(p.scale[c] * normal) + std::abs(p.shift[c]) + 3;
    ASSERT_NEAR(p.dst.get(i), std::max(value, 0.0),
                rounding(GetParam().dtype) * std::abs(value) + 8 * rounding(Dtype::f32) * magnitude);
  }
}

TEST_P(BatchNorm, RecomputeWritesTheSameBits) {
  Problem p({2, 9, 9, 48}, GetParam().dtype, 0);
  Bench bench(GetParam());
  const auto operation = bench.make(p.task(true));
  operation->forward(Phase::training);
  Field first(p.dst.view().shape, GetParam().dtype);
  copy(p.dst, first);
  p.dst.fill([](int64_t) { return -5.0f; });
  operation->recompute();
  for (int64_t i = 0; i < p.dst.count(); ++i) ASSERT_EQ(p.dst.get(i), first.get(i));
}

TEST_P(BatchNorm, GradientIsAddedIfItAccumulates) {
  Problem assigned({2, 6, 6, 32}, GetParam().dtype, 0), added({2, 6, 6, 32}, GetParam().dtype, 0);
  Field before(added.src_grad.view().shape, GetParam().dtype);
  copy(added.src_grad, before);
  Bench bench(GetParam()), other(GetParam());
  const auto assign = bench.make(assigned.task(true)), add = other.make(added.task(true, false, true));
  for (const auto* o : {&assign, &add}) {
    (*o)->forward(Phase::training);
    (*o)->backward();
  }
  for (int64_t i = 0; i < before.count(); ++i) {
    const double sum = before.get(i) + assigned.src_grad.get(i);
    const double rounded = std::abs(assigned.src_grad.get(i)) + std::abs(sum);
    ASSERT_NEAR(added.src_grad.get(i), sum, rounding(GetParam().dtype) * rounded + 1e-30);
  }
}

// L = sum of r * dst with fixed weights r. Its derivative along a direction comes from central differences with steps h
// and 2h: their distance bounds the truncation error, the rounding errors of dst divided by h bound the rest.
TEST(BatchNormReference, GradientsMatchFiniteDifferences) {
  const Shape shape{2, 3, 3, 6};
  for (const bool relu : {false, true}) {
    Problem p(shape, Dtype::f32, 0);
    // Far from the kink of ReLU on either side: shifts of 5 keep a whole channel positive or negative.
    if (relu)
      for (size_t c = 0; c < p.shift.size(); ++c) p.shift[c] = c % 2 == 0 ? 5.0f : -5.0f;
    Bench bench("reference", Dtype::f32);
    const auto operation = bench.make(p.task(relu));
    operation->forward(Phase::training);
    operation->backward();
    const auto loss = [&] {
      operation->forward(Phase::training);
      double sum = 0;
      for (int64_t i = 0; i < p.dst.count(); ++i) sum += p.dst.get(i) * p.dst_grad.get(i);
      return sum;
    };
    const auto check = [&](const std::string& what, double analytic, const std::function<void(double)>& move) {
      const auto slope = [&](double h) {
        move(h);
        const double up = loss();
        move(-2 * h);
        const double down = loss();
        move(h);
        return (up - down) / (2 * h);
      };
      const double h = 0x1p-7, near = slope(h), far = slope(2 * h);
      double magnitude = 0;
      for (int64_t i = 0; i < p.dst.count(); ++i) magnitude += 6 * std::abs(p.dst_grad.get(i));
      const double allowed = std::abs(near - far) + magnitude * rounding(Dtype::f32) / h;
      EXPECT_NEAR(analytic, near, allowed) << what << " relu " << relu;
    };
    for (int64_t i = 0; i < p.src.count(); i += 5)
      check("source " + std::to_string(i), p.src_grad.get(i),
            [&](double h) { p.src.set(i, static_cast<float>(p.src.get(i) + h)); });
    for (size_t c = 0; c < p.scale.size(); ++c) {
      check("scale", p.scale_grad[c], [&](double h) { p.scale[c] += static_cast<float>(h); });
      check("shift", p.shift_grad[c], [&](double h) { p.shift[c] += static_cast<float>(h); });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BatchNorm, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

// Addition, the fully connected layer, the loss, the input.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "ops/cases.h"

namespace packhorse {
namespace {

class Layers : public testing::TestWithParam<BackendCase> {};

TEST_P(Layers, AddPassesTheGradientIfTheSumIsPositive) {
  const Shape shape{2, 5, 5, 40};
  const double type = rounding(GetParam().dtype);
  for (const bool relu : {false, true}) {
    Field a(shape, GetParam().dtype, 8), b(shape, GetParam().dtype), dst(shape, GetParam().dtype, 16);
    Field a_grad(shape, GetParam().dtype), b_grad(shape, GetParam().dtype, 24), dst_grad(shape, GetParam().dtype);
    Numbers numbers(5);
    for (Field* field : {&a, &b, &dst_grad, &b_grad}) numbers.fill(*field);
    Field before(shape, GetParam().dtype);
    copy(b_grad, before);
    Bench bench(GetParam());
    const auto operation = bench.make(AddTask{.a = a.view(),
                                              .b = b.view(),
                                              .dst = dst.view(),
                                              .a_grad = {a_grad.view(), false},
                                              .b_grad = {b_grad.view(), true},
                                              .dst_grad = dst_grad.view(),
                                              .relu = relu});
    operation->forward(Phase::training);
    operation->backward();
    for (int64_t i = 0; i < a.count(); ++i) {
      const double sum = a.get(i) + b.get(i);
      ASSERT_NEAR(dst.get(i), relu ? std::max(sum, 0.0) : sum, type * std::abs(sum));
      const double gradient = !relu || sum > 0 ? dst_grad.get(i) : 0.0;
      ASSERT_EQ(a_grad.get(i), gradient);
      ASSERT_NEAR(b_grad.get(i), before.get(i) + gradient, type * std::abs(before.get(i) + gradient));
    }
    EXPECT_TRUE(dst.gaps_untouched() && b_grad.gaps_untouched());
  }
}

TEST_P(Layers, FullyConnectedIsThreeProducts) {
  for (const auto [n, c, o] : {std::array<int64_t, 3>{4, 48, 10}, {1, 33, 1}, {3, 64, 1001}}) {
    Numbers numbers(6);
    const auto src = numbers.vector(n * c), weight = numbers.vector(o * c), bias = numbers.vector(o),
               dst_grad = numbers.vector(n * o);
    std::vector<float> dst(static_cast<size_t>(n * o)), src_grad(src.size()), weight_grad(weight.size()),
        bias_grad(bias.size());
    Bench bench(GetParam());
    const auto operation = bench.make(FullyConnectedTask{.name = "test",
                                                         .dtype = GetParam().dtype,
                                                         .n = n,
                                                         .c = c,
                                                         .o = o,
                                                         .src = src.data(),
                                                         .src_grad = src_grad.data(),
                                                         .dst = dst.data(),
                                                         .dst_grad = dst_grad.data(),
                                                         .weight = weight.data(),
                                                         .bias = bias.data(),
                                                         .weight_grad = weight_grad.data(),
                                                         .bias_grad = bias_grad.data()});
    operation->parameters_changed();
    operation->forward(Phase::training);
    operation->backward();
    // Operands are exact in both types and at most 1 in magnitude; sums are f32.
    const auto check = [](float value, double expected, int64_t terms) {
      ASSERT_NEAR(value, expected, static_cast<double>((terms + 1) * (terms + 1)) * rounding(Dtype::f32));
    };
    const auto at = [](const std::vector<float>& m, int64_t columns, int64_t row, int64_t column) {
      return static_cast<double>(m[static_cast<size_t>(row * columns + column)]);
    };
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < o; ++k) {
        double sum = bias[static_cast<size_t>(k)];
        for (int64_t j = 0; j < c; ++j) sum += at(src, c, i, j) * at(weight, c, k, j);
        check(dst[static_cast<size_t>(i * o + k)], sum, c);
      }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < c; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < o; ++k) sum += at(dst_grad, o, i, k) * at(weight, c, k, j);
        check(src_grad[static_cast<size_t>(i * c + j)], sum, o);
      }
    for (int64_t k = 0; k < o; ++k) {
      double bias_sum = 0;
      for (int64_t i = 0; i < n; ++i) bias_sum += at(dst_grad, o, i, k);
      check(bias_grad[static_cast<size_t>(k)], bias_sum, n);
      for (int64_t j = 0; j < c; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += at(dst_grad, o, i, k) * at(src, c, i, j);
        check(weight_grad[static_cast<size_t>(k * c + j)], sum, n);
      }
    }
  }
}

struct LossProblem {
  LossProblem(int64_t n_, int64_t classes_, float smoothing_) : n(n_), classes(classes_), smoothing(smoothing_) {
    Numbers numbers(7);
    logits = numbers.vector(n * classes, -4, 4);
    gradient.assign(logits.size(), 77.0f);
  }
  LossTask task() {
    return {.n = n,
            .classes = classes,
            .label_smoothing = smoothing,
            .logits = logits.data(),
            .logits_grad = gradient.data()};
  }
  double log_sum(int64_t row) const {
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(logit(row, k)));
    return std::log(sum);
  }
  float logit(int64_t row, int64_t k) const { return logits[static_cast<size_t>(row * classes + k)]; }
  int64_t n, classes;
  float smoothing;
  std::vector<float> logits, gradient;
};

TEST_P(Layers, LossIsCrossEntropyWithSmoothing) {
  for (const float smoothing : {0.0f, 0.1f})
    for (const int64_t classes : {1, 10, 1003}) {
      LossProblem p(3, classes, smoothing);
      const std::vector<int32_t> labels = {0, -1, static_cast<int32_t>(classes - 1)};
      Bench bench(GetParam());
      const BatchResult result = bench.make(p.task())->run(labels, 0.25f);
      double loss = 0;
      for (const int64_t row : {0, 2})
        for (int64_t k = 0; k < classes; ++k) {
          const double target = smoothing / static_cast<double>(classes) +
                                (k == labels[static_cast<size_t>(row)] ? 1.0 - smoothing : 0.0);
          const double log_probability = p.logit(row, k) - p.log_sum(row);
          loss -= target * log_probability;
          // exp is accurate to a few roundings of its argument, which is at most 8 in magnitude.
          ASSERT_NEAR(p.gradient[static_cast<size_t>(row * classes + k)], 0.25 * (std::exp(log_probability) - target),
                      0.25 * 16 * rounding(Dtype::f32))
              << "row " << row << " class " << k;
        }
      EXPECT_EQ(result.counted, 2u);
      EXPECT_NEAR(result.loss_sum, loss, static_cast<double>(classes) * 16 * rounding(Dtype::f32) + 1e-6);
      for (int64_t k = 0; k < classes; ++k) EXPECT_EQ(p.gradient[static_cast<size_t>(classes + k)], 0);
    }
}

TEST_P(Layers, TopKCountsTheLogitsBeforeTheLabels) {
  LossProblem p(7, 8, 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<float>> rows = {
      {9, 1, 2, 3, 4, 5, 6, 7}, {1, 9, 8, 7, 6, 5, 4, 3},   {1, 9, 8, 7, 6, 0, 0, 0},  {5, 5, 0, 0, 0, 0, 0, 0},
      {5, 5, 0, 0, 0, 0, 0, 0}, {nan, 0, 0, 0, 0, 0, 0, 0}, {0, nan, 0, 0, 0, 0, 0, 0}};
  for (size_t row = 0; row < rows.size(); ++row)
    std::copy(rows[row].begin(), rows[row].end(), p.logits.begin() + static_cast<int64_t>(row * 8));
  // The label's rank: first, eighth, fifth, first of two equal, second of two equal, NaN itself, second after a NaN.
  const std::vector<int32_t> labels = {0, 0, 0, 0, 1, 0, 0};
  Bench bench(GetParam());
  const BatchResult result = bench.make(p.task())->run(labels, 1);
  EXPECT_EQ(result.top1, 2u);
  EXPECT_EQ(result.top5, 5u);
  EXPECT_TRUE(std::isnan(result.loss_sum));
}

TEST_P(Layers, LossHandlesHugeLogitsAndRefusesWrongLabels) {
  LossProblem p(1, 4, 0);
  p.logits = {1e4f, -1e4f, 0, 9e3f};
  Bench bench(GetParam());
  const auto loss = bench.make(p.task());
  EXPECT_NEAR(loss->run(std::vector<int32_t>{1}, 1).loss_sum, 2e4, 1);
  EXPECT_NEAR(p.gradient[0], 1, 1e-6);
  EXPECT_NEAR(p.gradient[1], -1, 1e-6);
  EXPECT_THROW(loss->run(std::vector<int32_t>{4}, 1), UsageError);
}

TEST(LossReference, GradientMatchesFiniteDifferences) {
  LossProblem p(2, 5, 0.1f);
  Bench bench("reference", Dtype::f32);
  const auto loss = bench.make(p.task());
  const std::vector<int32_t> labels = {3, 1};
  loss->run(labels, 1);
  const std::vector<float> analytic = p.gradient;
  for (size_t i = 0; i < p.logits.size(); ++i) {
    const auto slope = [&](float h) {
      const float kept = p.logits[i];
      p.logits[i] = kept + h;
      const double up = loss->run(labels, 1).loss_sum;
      p.logits[i] = kept - h;
      const double down = loss->run(labels, 1).loss_sum;
      p.logits[i] = kept;
      return (up - down) / (2 * h);
    };
    const double near = slope(0x1p-8f), far = slope(0x1p-7f);
    EXPECT_NEAR(analytic[i], near, std::abs(near - far) + 4 * rounding(Dtype::f32));
  }
}

TEST_P(Layers, InputSubtractsTheMeanAndFillsWithZeros) {
  Field dst({2, 4, 4, 3}, GetParam().dtype);
  std::vector<uint8_t> pixels(48);
  std::iota(pixels.begin(), pixels.end(), uint8_t{100});
  Bench bench(GetParam());
  bench.make(InputTask{.dst = dst.view(), .mean = {1, 2, 3}, .scale = {1, 0.5f, 0.25f}})->run(pixels);
  const std::array<float, 3> mean = {1, 2, 3}, scale = {1, 0.5f, 0.25f};
  for (int64_t i = 0; i < 48; ++i) {
    const auto c = static_cast<size_t>(i % 3);
    const double expected = (pixels[static_cast<size_t>(i)] - mean[c]) * scale[c];
    EXPECT_NEAR(dst.get(i), expected, rounding(GetParam().dtype) * std::abs(expected));
    EXPECT_EQ(dst.get(48 + i), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Layers, testing::ValuesIn(backend_cases()), case_name);

TEST(Backends, RefuseWhatTheyCannotCompute) {
  EXPECT_THROW(make_backend("reference", Dtype::bf16, 1, true), Error);
  EXPECT_THROW(make_backend("abacus", Dtype::f32, 1, true), UsageError);
}

}  // namespace
}  // namespace packhorse

// Convolutions of every form that the networks use, against the plain sum; rounding errors set the tolerances.
#include <algorithm>

#include "ops/addends.h"
#include "ops/finite_difference.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

struct Form {
  int64_t n, size, in, out;
  int kernel, stride, pad;
};

std::ostream& operator<<(std::ostream& out, const Form& f) {
  return out << f.n << " of " << f.size << "x" << f.size << "x" << f.in << " to " << f.out << ", " << f.kernel << "x"
             << f.kernel << "/" << f.stride << " pad " << f.pad;
}

const std::vector<Form> kForms = {{2, 11, 3, 32, 7, 2, 3}, {2, 9, 3, 16, 3, 1, 1},   {1, 8, 16, 32, 1, 1, 0},
                                  {3, 7, 32, 48, 3, 1, 1}, {2, 8, 32, 64, 3, 2, 1},  {2, 8, 64, 32, 1, 2, 0},
                                  {1, 1, 16, 16, 3, 1, 1}, {5, 4, 48, 144, 1, 1, 0}, {2, 5, 7, 9, 3, 1, 1}};

// The plain sum, and the sum of absolute values, which bounds the rounding error.
struct Sum {
  double value = 0, magnitude = 0;
  int64_t terms = 0;
  void add(double a, double b) {
    value += a * b;
    magnitude += std::abs(a * b);
    ++terms;
  }
  double allowed(Dtype dtype) const {
    // Products of bf16 numbers are exact in f32; sums are f32; the result is rounded once more.
    return magnitude * (static_cast<double>(terms) * rounding(Dtype::f32) + rounding(dtype)) + 1e-30;
  }
};

// A convolution and its operands, filled; a test adds the nodes that it runs.
struct Problem {
  Problem(const BackendCase& c, const Form& form)
      : f(form),
        out_size((form.size + 2 * form.pad - form.kernel) / form.stride + 1),
        src_shape{f.n, f.size, f.size, f.in},
        dst_shape{f.n, out_size, out_size, f.out},
        t(c),
        src(t.value("src", src_shape)),
        dst(t.value("dst", dst_shape)),
        dst_grad(t.value("dst_grad", dst_shape)),
        weight(t.weights(f.out * f.in * f.kernel * f.kernel)),
        weight_grad(t.array("weight_grad", t.count(weight))) {
    Numbers numbers(1);
    src_values = numbers.vector(src_shape.count());
    dst_grad_values = numbers.vector(dst_shape.count());
    before_values = numbers.vector(src_shape.count());
    weight_values = numbers.vector(t.count(weight));
    t.set(src, src_values);
    t.set(dst_grad, dst_grad_values);
    t.set(weight, weight_values);
  }
  Node node(const NodeKind& kind) const {
    const auto number = [](int value) { return static_cast<double>(value); };
    return {.kind = &kind,
            .name = "test",
            .numbers = {{"kernel", number(f.kernel)}, {"stride", number(f.stride)}, {"pad", number(f.pad)}}};
  }
  void add_forward() {
    Node forward = node(kConvolution);
    forward.reads = {src, weight};
    forward.writes = {dst};
    t.add(forward);
  }
  void add_weight_gradient() {
    Node gradient = node(kConvolutionWeightGradient);
    gradient.reads = {src, dst_grad};
    gradient.writes = {weight_grad};
    t.add(gradient);
  }
  Contribution add_data_gradient(Addend addend) {
    Contribution src_grad(t, t.value("src_grad", src_shape), t.value("before", src_shape), addend, before_values);
    Node gradient = node(kConvolutionDataGradient);
    gradient.reads = {dst_grad, weight};
    src_grad.read_in(gradient);
    src_grad.write_in(gradient);
    t.add(gradient);
    return src_grad;
  }
  // Calls visit(place in dst, place in src, place of the weight) for every product of the convolution.
  template <typename Visit>
  void each(const Visit& visit) const {
    for (int64_t n = 0; n < f.n; ++n)
      for (int64_t y = 0; y < out_size; ++y)
        for (int64_t x = 0; x < out_size; ++x)
          for (int64_t o = 0; o < f.out; ++o)
            for (int64_t c = 0; c < f.in; ++c)
              for (int64_t i = 0; i < f.kernel; ++i)
                for (int64_t j = 0; j < f.kernel; ++j) {
                  const int64_t sy = y * f.stride + i - f.pad, sx = x * f.stride + j - f.pad;
                  if (sy < 0 || sx < 0 || sy >= f.size || sx >= f.size) continue;
                  visit(static_cast<size_t>(((n * out_size + y) * out_size + x) * f.out + o),
                        static_cast<size_t>(((n * f.size + sy) * f.size + sx) * f.in + c),
                        static_cast<size_t>(((o * f.in + c) * f.kernel + i) * f.kernel + j));
                }
  }

  const Form f;
  const int64_t out_size;
  const Shape src_shape, dst_shape;
  Trial t;
  Operand src, dst, dst_grad, weight, weight_grad;
  std::vector<double> src_values, dst_grad_values, before_values, weight_values;
};

class Convolution : public testing::TestWithParam<BackendCase> {};

TEST_P(Convolution, ForwardMatchesTheSum) {
  for (const Form& form : kForms) {
    Problem p(GetParam(), form);
    p.add_forward();
    p.t.run();
    std::vector<Sum> sums(static_cast<size_t>(p.dst_shape.count()));
    p.each([&](size_t dst, size_t src, size_t weight) { sums[dst].add(p.src_values[src], p.weight_values[weight]); });
    const std::vector<double> found = p.t.get(p.dst);
    for (size_t i = 0; i < sums.size(); ++i)
      ASSERT_NEAR(found[i], sums[i].value, sums[i].allowed(GetParam().dtype)) << form << " at " << i;
  }
}

TEST_P(Convolution, WeightGradientMatchesTheSumOverForwardsInputs) {
  for (const Form& form : kForms) {
    Problem p(GetParam(), form);
    p.add_weight_gradient();
    p.t.run();
    std::vector<Sum> sums(p.weight_values.size());
    p.each([&](size_t dst, size_t src, size_t weight) { sums[weight].add(p.dst_grad_values[dst], p.src_values[src]); });
    const std::vector<double> found = p.t.get(p.weight_grad);
    // cuDNN gives a gradient in the type of its operands.
    const Dtype type = GetParam().backend == "cuda" ? GetParam().dtype : Dtype::f32;
    for (size_t i = 0; i < sums.size(); ++i)
      ASSERT_NEAR(found[i], sums[i].value, sums[i].allowed(type)) << form << " weight " << i;
  }
}

TEST_P(Convolution, DataGradientMatchesTheSumOverForwardsInputs) {
  for (const Form& form : kForms)
    for (const Addend addend : kAddends) {
      Problem p(GetParam(), form);
      const Contribution src_grad = p.add_data_gradient(addend);
      p.t.run();
      std::vector<Sum> sums(p.src_values.size());
      p.each([&](size_t dst, size_t src, size_t weight) {
        sums[src].add(p.dst_grad_values[dst], p.weight_values[weight]);
      });
      const std::vector<double> found = p.t.get(src_grad.result);
      for (size_t i = 0; i < sums.size(); ++i) {
        Sum& sum = sums[i];
        double allowed = sum.allowed(GetParam().dtype);
        if (src_grad.has_addend) {  // the added gradient was rounded, and the result is rounded again
          sum.add(src_grad.before[i], 1);
          allowed += sum.allowed(GetParam().dtype);
        }
        ASSERT_NEAR(found[i], sum.value, allowed) << form << " source " << i << ", " << addend;
      }
    }
}

TEST_P(Convolution, NewWeightsTakeEffectInTheNextRun) {
  Problem p(GetParam(), kForms[3]);
  p.add_forward();
  const Contribution src_grad = p.add_data_gradient(Addend::none);
  const auto all_zeros = [&](const Operand& operand) {
    const std::vector<double> values = p.t.get(operand);
    return std::all_of(values.begin(), values.end(), [](double value) { return value == 0; });
  };
  p.t.run();
  EXPECT_FALSE(all_zeros(p.dst));
  EXPECT_FALSE(all_zeros(src_grad.result));
  p.t.set(p.weight, 0);
  p.t.run();
  EXPECT_TRUE(all_zeros(p.dst));
  EXPECT_TRUE(all_zeros(src_grad.result));
}

TEST(ConvolutionReference, GradientsMatchFiniteDifferences) {
  for (const Form& form : {Form{2, 5, 3, 4, 3, 2, 1}, Form{1, 4, 2, 3, 1, 1, 0}, Form{1, 6, 1, 2, 3, 1, 1}}) {
    Problem p(kReference, form);
    p.add_forward();
    p.add_weight_gradient();
    const Contribution src_grad = p.add_data_gradient(Addend::none);
    p.t.run();
    const std::vector<double> by_src = p.t.get(src_grad.result), by_weight = p.t.get(p.weight_grad);
    FiniteDifferences differences(p.t, {{p.dst, p.dst_grad_values}});
    differences.check(p.src, by_src);
    differences.check(p.weight, by_weight);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Convolution, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

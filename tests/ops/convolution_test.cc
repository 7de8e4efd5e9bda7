// Convolutions of every form that the networks use, against the plain sum; rounding errors set the tolerances.
#include <algorithm>

#include "ops/cases.h"

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

class Convolution : public testing::TestWithParam<BackendCase> {
 protected:
  struct Problem {
    Problem(const Form& form, Dtype dtype)
        : f(form),
          out_size((form.size + 2 * form.pad - form.kernel) / form.stride + 1),
          src({form.n, form.size, form.size, form.in}, dtype),
          dst({form.n, out_size, out_size, form.out}, dtype),
          src_grad(src.view().shape, dtype),
          dst_grad(dst.view().shape, dtype),
          weight_grad(static_cast<size_t>(form.out * form.in * form.kernel * form.kernel), 77.0f) {
      Numbers numbers(1);
      numbers.fill(src);
      numbers.fill(dst_grad);
      numbers.fill(src_grad);
      weight = numbers.vector(static_cast<int64_t>(weight_grad.size()));
    }
    ConvolutionTask task(bool accumulate) {
      return {.name = "test",
              .src = src.view(),
              .dst = dst.view(),
              .src_grad = {src_grad.view(), accumulate},
              .dst_grad = dst_grad.view(),
              .kernel = f.kernel,
              .stride = f.stride,
              .pad = f.pad,
              .weight = weight.data(),
              .weight_grad = weight_grad.data()};
    }
    double source(int64_t n, int64_t y, int64_t x, int64_t c) const {
      return src.get(((n * f.size + y) * f.size + x) * f.in + c);
    }
    int64_t out_place(int64_t n, int64_t y, int64_t x, int64_t o) const {
      return ((n * out_size + y) * out_size + x) * f.out + o;
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
                    visit(out_place(n, y, x, o), ((n * f.size + sy) * f.size + sx) * f.in + c,
                          ((o * f.in + c) * f.kernel + i) * f.kernel + j);
                  }
    }
    const Form f;
    const int64_t out_size;
    Field src, dst, src_grad, dst_grad;
    std::vector<float> weight, weight_grad;
  };
};

TEST_P(Convolution, ForwardMatchesTheSum) {
  for (const Form& form : kForms) {
    Problem p(form, GetParam().dtype);
    Bench bench(GetParam());
    const auto operation = bench.make(p.task(false));
    operation->parameters_changed();
    operation->forward(Phase::training);
    std::vector<Sum> sums(static_cast<size_t>(p.dst.count()));
    p.each([&](int64_t dst, int64_t src, int64_t weight) {
      sums[static_cast<size_t>(dst)].add(p.src.get(src), p.weight[static_cast<size_t>(weight)]);
    });
    for (int64_t i = 0; i < p.dst.count(); ++i)
      ASSERT_NEAR(p.dst.get(i), sums[static_cast<size_t>(i)].value,
                  sums[static_cast<size_t>(i)].allowed(GetParam().dtype))
          << form << " at " << i;
  }
}

TEST_P(Convolution, BackwardMatchesTheSumOverForwardsInputs) {
  for (const Form& form : kForms)
    for (const bool accumulate : {false, true}) {
      Problem p(form, GetParam().dtype);
      Field before(p.src.view().shape, GetParam().dtype);
      copy(p.src_grad, before);
      Bench bench(GetParam());
      const auto operation = bench.make(p.task(accumulate));
      operation->parameters_changed();
      operation->backward();
      std::vector<Sum> data(static_cast<size_t>(p.src.count())), weights(p.weight.size());
      p.each([&](int64_t dst, int64_t src, int64_t weight) {
        data[static_cast<size_t>(src)].add(p.dst_grad.get(dst), p.weight[static_cast<size_t>(weight)]);
        weights[static_cast<size_t>(weight)].add(p.dst_grad.get(dst), p.src.get(src));
      });
      for (size_t i = 0; i < weights.size(); ++i)
        ASSERT_NEAR(p.weight_grad[i], weights[i].value, weights[i].allowed(Dtype::f32)) << form << " weight " << i;
      for (int64_t i = 0; i < p.src.count(); ++i) {
        Sum& sum = data[static_cast<size_t>(i)];
        double allowed = sum.allowed(GetParam().dtype);
        if (accumulate) {  // the added gradient was rounded, and the result is rounded again
          sum.add(before.get(i), 1);
          allowed += sum.allowed(GetParam().dtype);
        }
        ASSERT_NEAR(p.src_grad.get(i), sum.value, allowed) << form << " source " << i << " accumulate " << accumulate;
      }
    }
}

TEST_P(Convolution, NewParametersTakeEffectAfterParametersChanged) {
  Problem p(kForms[3], GetParam().dtype);
  Bench bench(GetParam());
  const auto operation = bench.make(p.task(false));
  for (float& weight : p.weight) weight = 0;
  operation->parameters_changed();
  operation->forward(Phase::training);
  for (int64_t i = 0; i < p.dst.count(); ++i) ASSERT_EQ(p.dst.get(i), 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, Convolution, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

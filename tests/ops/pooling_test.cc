// Pools: windows at borders, sizes rounded up, ties, gradients; ranges of channels.
#include <algorithm>
#include <limits>

#include "ops/cases.h"

namespace packhorse {
namespace {

struct Form {
  bool maximum;
  int64_t n, size, out, channels;
  int kernel, stride, pad;
};

std::ostream& operator<<(std::ostream& out, const Form& f) {
  return out << (f.maximum ? "max " : "average ") << f.size << " to " << f.out << ", " << f.channels << " channels, "
             << f.kernel << "/" << f.stride << " pad " << f.pad;
}

// 10 to 5 and 8 to 4 with kernel 3, stride 2 are rounded up: the last window reaches over the border.
const std::vector<Form> kForms = {{true, 2, 10, 5, 48, 3, 2, 0}, {true, 1, 8, 4, 16, 3, 2, 1},
                                  {true, 2, 7, 7, 32, 3, 1, 1},  {true, 2, 8, 4, 19, 3, 2, 0},
                                  {true, 1, 1, 1, 16, 3, 1, 1},  {false, 2, 7, 7, 48, 3, 1, 1},
                                  {false, 3, 6, 3, 21, 3, 2, 1}, {false, 1, 1, 1, 16, 3, 1, 1},
                                  {false, 2, 5, 5, 16, 5, 1, 2}, {true, 2, 6, 3, 16, 2, 2, 0}};

class Pool : public testing::TestWithParam<BackendCase> {
 protected:
  struct Problem {
    Problem(const Form& form, Dtype dtype)
        : f(form),
          src({f.n, f.size, f.size, f.channels}, dtype, 16),
          dst({f.n, f.out, f.out, f.channels}, dtype, 8),
          src_grad(src.view().shape, dtype, 24),
          dst_grad(dst.view().shape, dtype, 32),
          argmax(static_cast<size_t>(dst.count())) {
      Numbers numbers(3);
      // Only a few different values, so that there are ties.
      src.fill([&](int64_t) { return std::round(numbers.next(-3, 3)); });
      numbers.fill(dst_grad);
      numbers.fill(src_grad);
    }
    PoolTask task(bool accumulate) {
      return {.maximum = f.maximum,
              .kernel = f.kernel,
              .stride = f.stride,
              .pad = f.pad,
              .src = src.view(),
              .dst = dst.view(),
              .src_grad = {src_grad.view(), accumulate},
              .dst_grad = dst_grad.view(),
              .argmax = f.maximum ? argmax.data() : nullptr};
    }
    // Calls visit(place in src) for each source pixel in the window of a place in dst, rows first.
    template <typename Visit>
    void window(int64_t place, const Visit& visit) const {
      const int64_t c = place % f.channels, x = place / f.channels % f.out, y = place / f.channels / f.out % f.out,
                    n = place / f.channels / f.out / f.out;
      for (int64_t sy = y * f.stride - f.pad; sy < y * f.stride - f.pad + f.kernel; ++sy)
        for (int64_t sx = x * f.stride - f.pad; sx < x * f.stride - f.pad + f.kernel; ++sx)
          if (sy >= 0 && sx >= 0 && sy < f.size && sx < f.size)
            visit(((n * f.size + sy) * f.size + sx) * f.channels + c);
    }
    const Form f;
    Field src, dst, src_grad, dst_grad;
    std::vector<uint8_t> argmax;
  };
};

TEST_P(Pool, ForwardReducesTheWindow) {
  for (const Form& form : kForms) {
    Problem p(form, GetParam().dtype);
    Bench bench(GetParam());
    bench.make(p.task(false))->forward(Phase::training);
    for (int64_t i = 0; i < p.dst.count(); ++i) {
      double sum = 0, greatest = -std::numeric_limits<double>::infinity();
      p.window(i, [&](int64_t s) {
        sum += p.src.get(s);
        greatest = std::max(greatest, p.src.get(s));
      });
      const double average = sum / (form.kernel * form.kernel);  // borders count as zeros
      if (form.maximum)
        ASSERT_EQ(p.dst.get(i), greatest) << form << " at " << i;
      else
        ASSERT_NEAR(p.dst.get(i), average, (rounding(GetParam().dtype) + 4 * rounding(Dtype::f32)) * std::abs(average))
            << form << " at " << i;
    }
    EXPECT_TRUE(p.dst.gaps_untouched());
  }
}

TEST_P(Pool, BackwardGoesToTheFirstMaximumOrToTheWholeWindow) {
  for (const Form& form : kForms)
    for (const bool accumulate : {false, true}) {
      Problem p(form, GetParam().dtype);
      std::vector<double> expected(static_cast<size_t>(p.src.count())), magnitude(expected.size());
      for (int64_t i = 0; accumulate && i < p.src.count(); ++i) expected[static_cast<size_t>(i)] = p.src_grad.get(i);
      for (int64_t i = 0; i < p.src.count(); ++i) magnitude[static_cast<size_t>(i)] = std::abs(p.src_grad.get(i));
      for (int64_t i = 0; i < p.dst.count(); ++i) {
        int64_t first = -1;
        p.window(i, [&](int64_t s) {
          if (first < 0 || p.src.get(s) > p.src.get(first)) first = s;
        });
        const double share = p.dst_grad.get(i) / (form.maximum ? 1 : form.kernel * form.kernel);
        p.window(i, [&](int64_t s) {
          if (form.maximum && s != first) return;
          expected[static_cast<size_t>(s)] += share;
          magnitude[static_cast<size_t>(s)] += std::abs(share);
        });
      }
      Bench bench(GetParam());
      const auto operation = bench.make(p.task(accumulate));
      operation->forward(Phase::training);
      operation->backward();
      for (int64_t i = 0; i < p.src.count(); ++i) {
        const auto s = static_cast<size_t>(i);
        const double allowed = rounding(GetParam().dtype) * std::abs(expected[s]) +
                               (form.kernel * form.kernel + 4) * rounding(Dtype::f32) * magnitude[s];
        ASSERT_NEAR(p.src_grad.get(i), expected[s], allowed) << form << " at " << i << " accumulate " << accumulate;
      }
      EXPECT_TRUE(p.src_grad.gaps_untouched());
    }
}

TEST_P(Pool, GlobalAverageAndItsGradient) {
  const Shape shape{3, 7, 7, 80};
  Field src(shape, GetParam().dtype), src_grad(shape, GetParam().dtype);
  Numbers numbers(4);
  numbers.fill(src);
  numbers.fill(src_grad);
  Field before(shape, GetParam().dtype);
  copy(src_grad, before);
  std::vector<float> dst(static_cast<size_t>(shape.n * shape.c));
  const std::vector<float> dst_grad = numbers.vector(shape.n * shape.c);
  for (const bool accumulate : {false, true}) {
    copy(before, src_grad);
    Bench bench(GetParam());
    const auto operation = bench.make(GlobalPoolTask{
        .src = src.view(), .src_grad = {src_grad.view(), accumulate}, .dst = dst.data(), .dst_grad = dst_grad.data()});
    operation->forward(Phase::training);
    operation->backward();
    for (int64_t i = 0; i < src.count(); ++i) {
      const int64_t n = i / shape.c / 49, c = i % shape.c;
      const double share = dst_grad[static_cast<size_t>(n * shape.c + c)] / 49.0;
      const double expected = share + (accumulate ? before.get(i) : 0.0);
      ASSERT_NEAR(src_grad.get(i), expected,
                  rounding(GetParam().dtype) * std::abs(expected) + 4 * rounding(Dtype::f32));
    }
  }
  for (int64_t n = 0; n < shape.n; ++n)
    for (int64_t c = 0; c < shape.c; ++c) {
      double sum = 0;
      for (int64_t p = 0; p < 49; ++p) sum += src.get((n * 49 + p) * shape.c + c);
      ASSERT_NEAR(dst[static_cast<size_t>(n * shape.c + c)], sum / 49, 49 * rounding(Dtype::f32));
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, Pool, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

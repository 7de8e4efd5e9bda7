// Pools: windows at borders, sizes rounded up, ties, gradients; ranges of channels.
#include <algorithm>
#include <limits>

#include "ops/addends.h"
#include "ops/finite_difference.h"
#include "ops/trial.h"

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

// A pool, its gradient and their operands, filled.
struct Problem {
  Problem(const BackendCase& c, const Form& form, Addend addend = Addend::none)
      : f(form),
        src_shape{f.n, f.size, f.size, f.channels},
        dst_shape{f.n, f.out, f.out, f.channels},
        t(c),
        src(t.value("src", src_shape, 16)),
        dst(t.value("dst", dst_shape, 8)),
        dst_grad(t.value("dst_grad", dst_shape, 32)) {
    Numbers numbers(3);
    // Only a few different values, so that there are ties.
    for (int64_t i = 0; i < src_shape.count(); ++i) src_values.push_back(std::round(numbers.next(-3, 3)));
    dst_grad_values = numbers.vector(dst_shape.count());
    t.set(src, src_values);
    t.set(dst_grad, dst_grad_values);
    const Contribution contribution(t, t.value("src_grad", src_shape, 24), t.value("before", src_shape, 8), addend,
                                    numbers.vector(src_shape.count()));
    before = contribution.before;
    src_grad = contribution.result;

    const auto number = [](int value) { return static_cast<double>(value); };
    const std::map<std::string, double> numbers_of_node = {
        {"kernel", number(f.kernel)}, {"stride", number(f.stride)}, {"pad", number(f.pad)}};
    Node forward{.kind = f.maximum ? &kMaxPool : &kAveragePool,
                 .name = "test",
                 .reads = {src},
                 .writes = {dst},
                 .numbers = numbers_of_node};
    Node backward{.kind = f.maximum ? &kMaxPoolGradient : &kAveragePoolGradient,
                  .name = "test",
                  .reads = {dst_grad},
                  .numbers = numbers_of_node};
    if (f.maximum) {
      argmax = t.places("argmax", dst_shape);
      forward.writes.push_back(argmax);
      backward.reads.push_back(argmax);
    }
    contribution.read_in(backward);
    contribution.write_in(backward);
    t.add(forward);
    t.add(backward);
  }
  // Calls visit(place in src, place in the window) for each source pixel in the window of a place in dst, rows first.
  template <typename Visit>
  void window(int64_t place, const Visit& visit) const {
    const int64_t c = place % f.channels, x = place / f.channels % f.out, y = place / f.channels / f.out % f.out,
                  n = place / f.channels / f.out / f.out;
    for (int64_t i = 0; i < f.kernel; ++i)
      for (int64_t j = 0; j < f.kernel; ++j) {
        const int64_t sy = y * f.stride - f.pad + i, sx = x * f.stride - f.pad + j;
        if (sy >= 0 && sx >= 0 && sy < f.size && sx < f.size)
          visit(static_cast<size_t>(((n * f.size + sy) * f.size + sx) * f.channels + c), i * f.kernel + j);
      }
  }

  const Form f;
  const Shape src_shape, dst_shape;
  Trial t;
  Operand src, dst, dst_grad, src_grad, argmax;
  std::vector<double> src_values, dst_grad_values, before;
};

class Pool : public testing::TestWithParam<BackendCase> {};

TEST_P(Pool, ForwardReducesTheWindow) {
  for (const Form& form : kForms) {
    Problem p(GetParam(), form);
    p.t.run();
    for (int64_t i = 0; i < p.dst_shape.count(); ++i) {
      double sum = 0, greatest = -std::numeric_limits<double>::infinity();
      int64_t first = -1;
      p.window(i, [&](size_t s, int64_t tap) {
        sum += p.src_values[s];
        if (p.src_values[s] > greatest) first = tap;
        greatest = std::max(greatest, p.src_values[s]);
      });
      const double average = sum / (form.kernel * form.kernel);  // borders count as zeros
      if (form.maximum) {
        ASSERT_EQ(p.t.get(p.dst, i), greatest) << form << " at " << i;
        ASSERT_EQ(p.t.get(p.argmax, i), static_cast<double>(first)) << form << " at " << i;
      } else {
        ASSERT_NEAR(p.t.get(p.dst, i), average,
                    (rounding(GetParam().dtype) + 4 * rounding(Dtype::f32)) * std::abs(average))
            << form << " at " << i;
      }
    }
    EXPECT_TRUE(p.t.gaps_untouched(p.dst));
  }
}

TEST_P(Pool, BackwardGoesToTheFirstMaximumOrToTheWholeWindow) {
  for (const Form& form : kForms)
    for (const Addend addend : kAddends) {
      Problem p(GetParam(), form, addend);
      std::vector<double> expected = p.before, magnitude = p.before;
      for (double& value : magnitude) value = std::abs(value);
      for (int64_t i = 0; i < p.dst_shape.count(); ++i) {
        int64_t first = -1;
        p.window(i, [&](size_t s, int64_t) {
          if (first < 0 || p.src_values[s] > p.src_values[static_cast<size_t>(first)]) first = static_cast<int64_t>(s);
        });
        const double share = p.dst_grad_values[static_cast<size_t>(i)] / (form.maximum ? 1 : form.kernel * form.kernel);
        p.window(i, [&](size_t s, int64_t) {
          if (form.maximum && static_cast<int64_t>(s) != first) return;
          expected[s] += share;
          magnitude[s] += std::abs(share);
        });
      }
      p.t.run();
      const std::vector<double> found = p.t.get(p.src_grad);
      for (size_t s = 0; s < found.size(); ++s) {
        const double allowed = rounding(GetParam().dtype) * std::abs(expected[s]) +
                               (form.kernel * form.kernel + 4) * rounding(Dtype::f32) * magnitude[s] +
                               smallest_rounding(GetParam().dtype);
        ASSERT_NEAR(found[s], expected[s], allowed) << form << " at " << s << ", " << addend;
      }
      EXPECT_TRUE(p.t.gaps_untouched(p.src_grad));
    }
}

TEST_P(Pool, GlobalAverageAndItsGradient) {
  const Shape shape{3, 7, 7, 80};
  for (const Addend addend : kAddends) {
    Trial t(GetParam());
    Numbers numbers(4);
    const std::vector<double> src_values = numbers.vector(shape.count()), before = numbers.vector(shape.count()),
                              dst_grad_values = numbers.vector(shape.n * shape.c);
    const Operand src = t.value("src", shape, 16), dst = t.matrix("dst", shape.n, shape.c),
                  dst_grad = t.matrix("dst_grad", shape.n, shape.c);
    t.set(src, src_values);
    t.set(dst_grad, dst_grad_values);
    const Contribution src_grad(t, t.value("src_grad", shape, 8), t.value("before", shape), addend, before);
    Node backward{.kind = &kGlobalPoolGradient, .name = "test", .reads = {dst_grad}};
    src_grad.read_in(backward);
    src_grad.write_in(backward);
    t.add({.kind = &kGlobalPool, .name = "test", .reads = {src}, .writes = {dst}});
    t.add(backward);
    t.run();
    const std::vector<double> found = t.get(src_grad.result);
    for (int64_t i = 0; i < shape.count(); ++i) {
      const auto place = static_cast<size_t>(i);
      const double share = dst_grad_values[static_cast<size_t>(i / shape.c / 49 * shape.c + i % shape.c)] / 49.0;
      const double expected = share + src_grad.before[place];
      // A factor, a product and a sum of numbers below 2 in f32.
      ASSERT_NEAR(found[place], expected, rounding(GetParam().dtype) * std::abs(expected) + 4 * rounding(Dtype::f32))
          << addend;
    }
    EXPECT_TRUE(t.gaps_untouched(src_grad.result));
    for (int64_t n = 0; n < shape.n; ++n)
      for (int64_t c = 0; c < shape.c; ++c) {
        double sum = 0;
        for (int64_t p = 0; p < 49; ++p) sum += src_values[static_cast<size_t>((n * 49 + p) * shape.c + c)];
        ASSERT_NEAR(t.get(dst, n * shape.c + c), sum / 49, 49 * rounding(Dtype::f32));
      }
  }
}

TEST(PoolReference, GradientsMatchFiniteDifferences) {
  for (const Form& form : {Form{true, 2, 6, 3, 3, 3, 2, 0}, Form{true, 1, 5, 5, 2, 3, 1, 1},
                           Form{false, 2, 6, 3, 3, 3, 2, 1}, Form{false, 1, 4, 4, 2, 3, 1, 1}}) {
    Problem p(kReference, form);
    // No two values of a window are so near that a step could exchange them: 37 makes all of them different.
    for (size_t i = 0; i < p.src_values.size(); ++i)
      p.src_values[i] = static_cast<double>(i * 37 % p.src_values.size()) * 4 * FiniteDifferences::kLargestStep;
    ASSERT_NE(p.src_values.size() % 37, 0u);
    p.t.set(p.src, p.src_values);
    p.t.run();
    const std::vector<double> by_src = p.t.get(p.src_grad);
    FiniteDifferences(p.t, {{p.dst, p.dst_grad_values}}).check(p.src, by_src);
  }
}

TEST(PoolReference, GlobalGradientMatchesFiniteDifferences) {
  const Shape shape{2, 3, 3, 4};
  Trial t(kReference);
  Numbers numbers(4);
  const Operand src = t.value("src", shape), dst = t.matrix("dst", 2, 4), dst_grad = t.matrix("dst_grad", 2, 4),
                src_grad = t.value("src_grad", shape);
  const std::vector<double> weights = numbers.vector(8);
  t.set(src, numbers.vector(shape.count()));
  t.set(dst_grad, weights);
  t.add({.kind = &kGlobalPool, .name = "test", .reads = {src}, .writes = {dst}});
  t.add({.kind = &kGlobalPoolGradient, .name = "test", .reads = {dst_grad}, .writes = {src_grad}});
  t.run();
  const std::vector<double> by_src = t.get(src_grad);
  FiniteDifferences(t, {{dst, weights}}).check(src, by_src);
}

INSTANTIATE_TEST_SUITE_P(Backends, Pool, testing::ValuesIn(backend_cases()), case_name);

}  // namespace
}  // namespace packhorse

// Gradients of the reference backend by finite differences; the tests check the other backends against the reference.
//
// L = sum of weights * results. Its slope comes from central differences with steps h and 2h. Their distance bounds the
// truncation error: it is 3 c h², and the error of the nearer one is c h². The rounding errors of L, divided by h,
// bound the rest; a gradient sums fewer than 1/h contributions, so that its own rounding is less than that.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/trial.h"

namespace packhorse {

class FiniteDifferences {
 public:
  struct Term {
    Operand result;
    std::vector<double> weights;
    /// Bounds the rounding errors inside a result, besides the rounding of the result itself.
    double inner_error = 0;
  };

  /// `trial` computes the results; it may compute gradients too.
  FiniteDifferences(Trial& trial, std::vector<Term> terms, const StepInput& input = {})
      : trial_(trial), terms_(std::move(terms)), input_(input) {}

  /// `gradient`: dL by each element of `operand`. Checks each `every`th element.
  void check(const Operand& operand, const std::vector<double>& gradient, int64_t every = 1) {
    ASSERT_EQ(static_cast<int64_t>(gradient.size()), trial_.count(operand));
    const std::vector<double> values = trial_.get(operand);
    for (size_t i = 0; i < values.size(); i += static_cast<size_t>(every)) {
      error_ = 0;
      const double near = slope(operand, values, i, kStep), far = slope(operand, values, i, 2 * kStep);
      EXPECT_NEAR(gradient[i], near, std::abs(near - far) + error_ / kStep)
          << operand.role << " " << i << " of " << trial_.program().nodes.front().kind->name;
    }
    trial_.set(operand, values);
  }

  /// A test with a kink keeps its values further from it than the largest step.
  static constexpr double kStep = 0x1p-7, kLargestStep = 2 * kStep;

 private:
  double slope(const Operand& operand, const std::vector<double>& values, size_t i, double h) {
    const auto loss_at = [&](double step, double& place) {
      std::vector<double> moved = values;
      moved[i] += step;
      trial_.set(operand, moved);
      place = trial_.get(operand, static_cast<int64_t>(i));  // rounded to the operand's type
      return loss();
    };
    double right = 0, left = 0;
    const double up = loss_at(h, right), down = loss_at(-h, left);
    return (up - down) / (right - left);
  }

  double loss() {
    trial_.run(input_);
    double sum = 0, error = 0;
    for (const Term& term : terms_) {
      const std::vector<double> results = trial_.get(term.result);
      for (size_t i = 0; i < results.size(); ++i) {
        sum += term.weights[i] * results[i];
        error += std::abs(term.weights[i]) * (std::abs(results[i]) * rounding(Dtype::f32) + term.inner_error);
      }
    }
    error_ = std::max(error_, error);
    return sum;
  }

  Trial& trial_;
  std::vector<Term> terms_;
  StepInput input_;
  double error_ = 0;  // of one L
};

}  // namespace packhorse

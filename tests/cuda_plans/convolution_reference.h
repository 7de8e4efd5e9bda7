// What a convolution with all that is fused around it computes: by its definition, in double. What lies between two
// operations is not rounded; what is written is rounded once to its type, and whoever reads it reads the rounded
// number.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "ops/cuda/convolution_graph.h"

namespace packhorse {

using Numbers = std::vector<double>;
using PortNumbers = std::map<Port, Numbers>;

inline double rounded(double number, Dtype dtype) {
  if (dtype == Dtype::f16) return static_cast<double>(static_cast<float>(F16(static_cast<float>(number))));
  if (dtype == Dtype::bf16) return static_cast<double>(static_cast<float>(Bf16(static_cast<float>(number))));
  return static_cast<double>(static_cast<float>(number));
}

class ConvolutionReference {
 public:
  ConvolutionReference(const ConvolutionSpec& spec, PortNumbers numbers) : spec_(spec), at_(std::move(numbers)) {
    if (spec.pass == ConvolutionPass::forward)
      forward();
    else if (spec.pass == ConvolutionPass::data_gradient)
      data_gradient();
    else
      weight_gradient();
  }
  /// Operands and results.
  const PortNumbers& numbers() const { return at_; }

 private:
  size_t channel(size_t i) const { return i % static_cast<size_t>(spec_.c); }
  size_t src_count() const { return static_cast<size_t>(spec_.n * spec_.h * spec_.w * spec_.c); }
  size_t dst_count() const { return static_cast<size_t>(spec_.n * spec_.dst_h() * spec_.dst_w() * spec_.o); }
  void write(Port port, const Numbers& numbers, Dtype dtype) {
    Numbers& into = at_[port];
    into.clear();
    for (const double number : numbers) into.push_back(rounded(number, dtype));
  }

  // What the ReLU is applied to.
  Numbers before_relu(ConvolutionApply apply) {
    Numbers values(src_count());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = at_[Port::src][i] * at_[Port::a][channel(i)] + at_[Port::b][channel(i)];
      if (apply == ConvolutionApply::sum) values[i] += at_[Port::residual][i];
      if (apply == ConvolutionApply::projected_sum)
        values[i] += at_[Port::residual_src][i] * at_[Port::residual_a][channel(i)] + at_[Port::residual_b][channel(i)];
    }
    return values;
  }
  Numbers source() {
    if (spec_.prologue == ConvolutionApply::none) return at_[Port::src];
    Numbers values = before_relu(spec_.prologue);
    for (double& value : values) value = std::fmax(value, 0);
    if (spec_.prologue == ConvolutionApply::apply) return values;
    write(Port::sum, values, spec_.dtype);
    return at_[Port::sum];
  }

  // Calls what(places of src, weight and dst) for every product of the convolution.
  template <typename What>
  void each_product(const What& what) const {
    const ConvolutionSpec& s = spec_;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t y = 0; y < s.dst_h(); ++y)
        for (int64_t x = 0; x < s.dst_w(); ++x)
          for (int64_t i = 0; i < s.kernel; ++i)
            for (int64_t j = 0; j < s.kernel; ++j) {
              const int64_t h = y * s.stride + i - s.pad, w = x * s.stride + j - s.pad;
              if (h < 0 || w < 0 || h >= s.h || w >= s.w) continue;
              for (int64_t o = 0; o < s.o; ++o)
                for (int64_t c = 0; c < s.c; ++c)
                  what(static_cast<size_t>(((n * s.h + h) * s.w + w) * s.c + c),
                       static_cast<size_t>(((o * s.kernel + i) * s.kernel + j) * s.c + c),
                       static_cast<size_t>(((n * s.dst_h() + y) * s.dst_w() + x) * s.o + o));
            }
  }

  void forward() {
    const Numbers src = source(), &weight = at_[Port::weight];
    Numbers dst(dst_count());
    each_product([&](size_t s, size_t w, size_t d) { dst[d] += src[s] * weight[w]; });
    write(Port::dst, dst, spec_.dtype);
    if (!spec_.statistics) return;
    Numbers sums(static_cast<size_t>(spec_.o)), squares(sums.size());
    for (size_t i = 0; i < dst.size(); ++i) {
      const double value = at_[Port::dst][i];
      sums[i % sums.size()] += value;
      squares[i % sums.size()] += value * value;
    }
    write(Port::sum_of_values, sums, Dtype::f32);
    write(Port::sum_of_squares, squares, Dtype::f32);
  }

  void weight_gradient() {
    const Numbers src = source(), &dst_grad = at_[Port::dst_grad];
    Numbers weight_grad(static_cast<size_t>(spec_.o * spec_.kernel * spec_.kernel * spec_.c));
    each_product([&](size_t s, size_t w, size_t d) { weight_grad[w] += src[s] * dst_grad[d]; });
    write(Port::weight_grad, weight_grad, spec_.dtype);
  }

  void data_gradient() {
    const Numbers &weight = at_[Port::weight], &dst_grad = at_[Port::dst_grad];
    const bool is_masked = spec_.mask != ConvolutionApply::none;
    Numbers src_grad(src_count());
    if (spec_.addend) src_grad = at_[is_masked ? Port::addend : Port::src_grad];
    each_product([&](size_t s, size_t w, size_t d) { src_grad[s] += weight[w] * dst_grad[d]; });
    if (!is_masked) return write(Port::src_grad, src_grad, spec_.dtype);

    const Numbers value = before_relu(spec_.mask);
    for (size_t i = 0; i < src_grad.size(); ++i)
      if (value[i] <= 0) src_grad[i] = 0;
    write(Port::masked_grad, src_grad, spec_.dtype);
    reduce(Port::src, Port::a_grad, Port::b_grad);
    if (spec_.mask == ConvolutionApply::projected_sum)
      reduce(Port::residual_src, Port::residual_a_grad, Port::residual_b_grad);
  }
  void reduce(Port src, Port a_grad, Port b_grad) {
    Numbers products(static_cast<size_t>(spec_.c)), sums(products.size());
    for (size_t i = 0; i < src_count(); ++i) {
      products[channel(i)] += at_[Port::masked_grad][i] * at_[src][i];
      sums[channel(i)] += at_[Port::masked_grad][i];
    }
    write(a_grad, products, Dtype::f32);
    write(b_grad, sums, Dtype::f32);
  }

  ConvolutionSpec spec_;
  PortNumbers at_;
};

}  // namespace packhorse

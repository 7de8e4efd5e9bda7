#include "image/resample.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr int kWeightBits = 14;  // a weight fits into 16 bits, a sum of weights times 255 into 32

/// Which source samples make up each destination sample, and how much each counts.
struct Taps {
  int most = 0;                  ///< weights a destination sample has room for
  std::vector<int> first;        ///< first source sample, of each destination sample
  std::vector<int16_t> weights;  ///< (destination, most): sum 2^kWeightBits each; zeros at the end where fewer count
};

Taps make_taps(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double reach = std::max(1.0, scale);  // half the triangle's base, in source samples
  Taps taps;
  taps.most = std::min(from, static_cast<int>(std::ceil(2 * reach)) + 1);
  taps.first.resize(to);
  taps.weights.resize(size_t{1} * to * taps.most);
  std::vector<double> exact(taps.most);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::clamp(static_cast<int>(std::floor(centre - reach)), 0, from - taps.most);
    double sum = 0;
    for (int k = 0; k < taps.most; ++k) {
      exact[k] = std::max(0.0, 1 - std::abs(first + k + 0.5 - centre) / reach);
      sum += exact[k];
    }
    int16_t* weights = taps.weights.data() + size_t{1} * i * taps.most;
    int left = 1 << kWeightBits;
    for (int k = 0; k < taps.most; ++k) {
      weights[k] = static_cast<int16_t>(std::lround(exact[k] / sum * (1 << kWeightBits)));
      left -= weights[k];
    }
    // What rounding left over goes to the largest, so that a flat area keeps its value.
    *std::max_element(weights, weights + taps.most) += static_cast<int16_t>(left);
    taps.first[i] = first;
  }
  return taps;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + (1 << (kWeightBits - 1))) >> kWeightBits, 0, 255));
}

/// One row of the destination's height at the source's width.
void mix_rows(const Image& src, const Taps& taps, int y, std::vector<int32_t>& sums, uint8_t* dst) {
  const size_t stride = size_t{3} * src.width;
  const int16_t* weights = taps.weights.data() + size_t{1} * y * taps.most;
  const uint8_t* row = src.pixels.data() + stride * taps.first[y];
  int32_t* sum = sums.data();
  std::fill_n(sum, stride, 0);
  for (int k = 0; k < taps.most; ++k, row += stride) {
    const int32_t weight = weights[k];
    if (weight == 0) continue;
    for (size_t i = 0; i < stride; ++i) sum[i] += weight * row[i];
  }
  for (size_t i = 0; i < stride; ++i) dst[i] = rounded(sum[i]);
}

void mix_columns(const uint8_t* src, const Taps& taps, int width, uint8_t* dst) {
  const int16_t* weights = taps.weights.data();
  for (int x = 0; x < width; ++x, weights += taps.most, dst += 3) {
    const uint8_t* at = src + size_t{3} * taps.first[x];
    int32_t red = 0, green = 0, blue = 0;
    for (int k = 0; k < taps.most; ++k, at += 3) {
      red += weights[k] * at[0];
      green += weights[k] * at[1];
      blue += weights[k] * at[2];
    }
    dst[0] = rounded(red);
    dst[1] = rounded(green);
    dst[2] = rounded(blue);
  }
}

}  // namespace

Size shrunk_to_short_edge(Size size, int edge) {
  const int64_t shorter = std::min(size.width, size.height);
  if (shorter <= edge) return size;
  const auto scaled = [&](int64_t side) { return static_cast<int>((2 * side * edge + shorter) / (2 * shorter)); };
  return {scaled(size.width), scaled(size.height)};
}

void resample(const Image& src, Size size, Image& dst) {
  if (src.width < 1 || src.height < 1 || size.width < 1 || size.height < 1) {
    throw Error({"a picture without pixels cannot be resampled", "", ""});
  }
  const Taps down = make_taps(src.height, size.height), across = make_taps(src.width, size.width);
  dst.width = size.width;
  dst.height = size.height;
  dst.pixels.resize(size_t{3} * size.width * size.height);
  std::vector<int32_t> sums(size_t{3} * src.width);
  std::vector<uint8_t> row(sums.size());
  for (int y = 0; y < size.height; ++y) {
    mix_rows(src, down, y, sums, row.data());
    mix_columns(row.data(), across, size.width, dst.pixels.data() + size_t{3} * size.width * y);
  }
}

}  // namespace packhorse

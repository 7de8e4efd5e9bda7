#include "image/resample.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/clones.h"
#include "base/error.h"

namespace packhorse {
namespace {

constexpr int kWeightBits = 14;                // a weight fits into 16 bits, a sum of weights times 255 into 32
constexpr int kHalf = 1 << (kWeightBits - 1);  // makes the shift round to nearest

/// Which source samples contribute to each destination sample, and their weights.
struct FilterWeights {
  int most = 0;                  ///< weights stored for each destination sample
  std::vector<int> first;        ///< first source sample of each destination sample
  std::vector<int16_t> weights;  ///< (destination, most): each row sums to 2^kWeightBits; unused weights are zeros
};

FilterWeights make_weights(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double reach = std::max(1.0, scale);  // half the triangle's base, in source samples
  FilterWeights taps;
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
    // Rounding the running sum, not each weight, keeps their sum exact: a flat area keeps its value.
    double running = 0;
    long before = 0;
    for (int k = 0; k < taps.most; ++k) {
      running += exact[k] / sum * (1 << kWeightBits);
      const long until = std::lround(running);
      weights[k] = static_cast<int16_t>(until - before);
      before = until;
    }
    taps.first[i] = first;
  }
  return taps;
}

/// Rows that are filtered together: in the horizontal filter each row is one SIMD lane.
constexpr int kLanes = 16;

// The compiler vectorises these loops; a processor with AVX2 runs a version of its own.
#define PACKHORSE_FILTER PACKHORSE_CLONES("avx2")

/// dst[i] = the mix of `taps` rows of `width` samples, as 16-bit numbers.
PACKHORSE_FILTER
void mix_rows(const uint8_t* src, size_t width, const int16_t* weights, int taps, int32_t* sums, uint8_t* dst) {
  for (size_t i = 0; i < width; ++i) sums[i] = kHalf;
  for (int k = 0; k < taps; ++k, src += width) {
    const int16_t weight = weights[k];
    if (weight == 0) continue;
    for (size_t i = 0; i < width; ++i) sums[i] += weight * static_cast<int16_t>(src[i]);
  }
  for (size_t i = 0; i < width; ++i) dst[i] = static_cast<uint8_t>(sums[i] >> kWeightBits);
}

/// One destination column of kLanes rows: src and dst are (columns, 3, kLanes).
PACKHORSE_FILTER
void mix_columns(const int16_t* src, const FilterWeights& taps, int width, uint8_t* dst) {
  const int16_t* weights = taps.weights.data();
  for (int x = 0; x < width; ++x, weights += taps.most, dst += 3 * kLanes) {
    const int16_t* at = src + size_t{3} * kLanes * taps.first[x];
    std::array<int32_t, 3 * kLanes> sums;
    sums.fill(kHalf);
    for (int k = 0; k < taps.most; ++k, at += 3 * kLanes) {
      const int16_t weight = weights[k];
      for (int i = 0; i < 3 * kLanes; ++i) sums[i] += weight * at[i];
    }
    for (int i = 0; i < 3 * kLanes; ++i) dst[i] = static_cast<uint8_t>(sums[i] >> kWeightBits);
  }
}

}  // namespace

Size shrunk_to_short_edge(Size size, int edge) {
  const int64_t shorter = std::min(size.width, size.height);
  if (shorter <= edge) return size;
  const auto scaled = [&](int64_t side) { return static_cast<int>((2 * side * edge + shorter) / (2 * shorter)); };
  return {scaled(size.width), scaled(size.height)};
}

void resample(const DecodedImage& src, Size size, DecodedImage& dst) {
  if (src.width < 1 || src.height < 1 || size.width < 1 || size.height < 1) {
    throw Error({"an image cannot be resampled from or to zero pixels", "", ""});
  }
  const FilterWeights down = make_weights(src.height, size.height), across = make_weights(src.width, size.width);
  dst.width = size.width;
  dst.height = size.height;
  dst.pixels.resize(size_t{3} * size.width * size.height);
  const size_t from = size_t{3} * src.width, to = size_t{3} * size.width;
  std::vector<int32_t> sums(from);
  std::vector<uint8_t> row(from), mixed(to * kLanes);
  std::vector<int16_t> lanes(from * kLanes);
  for (int top = 0; top < size.height; top += kLanes) {
    const int rows = std::min(kLanes, size.height - top);
    for (int lane = 0; lane < rows; ++lane) {
      const int y = top + lane;
      mix_rows(src.pixels.data() + from * down.first[y], from, down.weights.data() + size_t{1} * y * down.most,
               down.most, sums.data(), row.data());
      for (size_t i = 0; i < from; ++i) lanes[i * kLanes + lane] = row[i];
    }
    mix_columns(lanes.data(), across, size.width, mixed.data());
    for (int lane = 0; lane < rows; ++lane) {
      uint8_t* dst_row = dst.pixels.data() + to * (top + lane);
      for (size_t i = 0; i < to; ++i) dst_row[i] = mixed[i * kLanes + lane];
    }
  }
}

}  // namespace packhorse

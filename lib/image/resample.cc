#include "image/resample.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/clones.h"
#include "base/error.h"

namespace packhorse {
namespace {

constexpr int kWeightBits = 14;  // a weight fits into 16 bits
constexpr int kRowBits = 7;      // of a fraction, kept between the two directions: 255 with them fits into 16 bits, too

/// Along one axis: `size` result samples out of the `length` source samples from `begin` on, of an image of `limit`.
Taps make_taps(double begin, double length, int limit, int size, bool reversed) {
  const double step = length / size;
  const double reach = std::max(1.0, step);  // half the triangle's base
  Taps taps;
  taps.rows.resize(size);
  taps.begin = limit;
  std::vector<double> exact;
  for (int i = 0; i < size; ++i) {
    const double centre = begin + (i + 0.5) * step - 0.5;  // as a source sample's number
    const int lowest = static_cast<int>(std::floor(centre - reach)) + 1;
    const int highest = static_cast<int>(std::ceil(centre + reach)) - 1;
    Taps::Row row{std::clamp(lowest, 0, limit - 1), 0, taps.weights.size()};
    exact.assign(std::clamp(highest, 0, limit - 1) - row.first + 1, 0);
    double sum = 0;
    for (int k = lowest; k <= highest; ++k) {
      const double weight = 1 - std::abs(k - centre) / reach;
      exact[std::clamp(k, 0, limit - 1) - row.first] += weight;
      sum += weight;
    }
    // Rounding the running sum, not each weight, keeps their sum exact: a flat area keeps its value.
    double running = 0;
    long before = 0;
    for (const double weight : exact) {
      running += weight / sum * (1 << kWeightBits);
      const long until = std::lround(running);
      const bool leading = taps.weights.size() == row.at;
      if (until == before && leading) {
        ++row.first;
      } else {
        taps.weights.push_back(static_cast<int16_t>(until - before));
      }
      before = until;
    }
    while (taps.weights.back() == 0) taps.weights.pop_back();
    row.count = static_cast<int>(taps.weights.size() - row.at);
    taps.begin = std::min(taps.begin, row.first);
    taps.end = std::max(taps.end, row.first + row.count);
    taps.rows[reversed ? size - 1 - i : i] = row;
  }
  return taps;
}

/// Rows that are filtered together: in the horizontal filter each row is one SIMD lane.
constexpr int kLanes = 16;
/// Samples of a row that are filtered together: they, their sums and their lanes stay in the nearest cache.
constexpr size_t kBlock = 384;

// The compiler vectorises these loops; a processor with AVX2 runs a version of its own.
#define PACKHORSE_FILTER PACKHORSE_CLONES("avx2")

/// dst[i] = the mix of `count` rows of `width` samples, at most kBlock, with kRowBits of a fraction.
PACKHORSE_FILTER
void mix_rows(const uint8_t* src, size_t stride, size_t width, const int16_t* weights, int count, int16_t* dst) {
  constexpr int kShift = kWeightBits - kRowBits;
  std::array<int32_t, kBlock> sums;
  for (size_t i = 0; i < width; ++i) sums[i] = 1 << (kShift - 1);  // makes the shift round to nearest
  for (int k = 0; k < count; ++k, src += stride) {
    const int16_t weight = weights[k];
    for (size_t i = 0; i < width; ++i) sums[i] += weight * static_cast<int16_t>(src[i]);
  }
  for (size_t i = 0; i < width; ++i) dst[i] = static_cast<int16_t>(sums[i] >> kShift);
}

/// All columns of kLanes rows: src and dst are (columns, 3, kLanes).
PACKHORSE_FILTER
void mix_columns(const int16_t* src, const Taps& taps, uint8_t* dst) {
  constexpr int kShift = kWeightBits + kRowBits;
  for (const Taps::Row& row : taps.rows) {
    const int16_t* at = src + size_t{3} * kLanes * (row.first - taps.begin);
    const int16_t* weights = taps.weights.data() + row.at;
    std::array<int32_t, 3 * kLanes> sums;
    sums.fill(1 << (kShift - 1));
    for (int k = 0; k < row.count; ++k, at += 3 * kLanes) {
      const int16_t weight = weights[k];
      for (int i = 0; i < 3 * kLanes; ++i) sums[i] += weight * at[i];
    }
    for (int i = 0; i < 3 * kLanes; ++i) dst[i] = static_cast<uint8_t>(sums[i] >> kShift);
    dst += 3 * kLanes;
  }
}

/// Buffers that a thread reuses for every image.
struct Buffers {
  std::vector<int16_t> lanes;  // (source columns, 3, kLanes)
  std::vector<uint8_t> mixed;  // (columns, 3, kLanes)
};

bool takes_single_samples(const Taps& taps) {
  return std::all_of(taps.rows.begin(), taps.rows.end(), [](const Taps::Row& row) { return row.count == 1; });
}

void resample_to(const DecodedImage& src, const Crop& crop, Size size, uint8_t* dst) {
  const Resampler resampler({src.width, src.height}, crop, size);
  const Region region = resampler.region();
  const size_t stride = size_t{3} * src.width;
  resampler.run(src.pixels.data() + stride * region.y + size_t{3} * region.x, stride, dst);
}

}  // namespace

Size shrunk_to_short_edge(Size size, int edge) {
  const int64_t shorter = std::min(size.width, size.height);
  if (shorter <= edge) return size;
  const auto scaled = [&](int64_t side) { return static_cast<int>((2 * side * edge + shorter) / (2 * shorter)); };
  return {scaled(size.width), scaled(size.height)};
}

Resampler::Resampler(Size image, const Crop& crop, Size size) {
  if (image.width < 1 || image.height < 1 || size.width < 1 || size.height < 1) {
    throw Error({"an image cannot be resampled from or to zero pixels", "", ""});
  }
  across_ = make_taps(crop.x, crop.width, image.width, size.width, crop.flip);
  down_ = make_taps(crop.y, crop.height, image.height, size.height, false);
}

Region Resampler::region() const {
  return {across_.begin, down_.begin, across_.end - across_.begin, down_.end - down_.begin};
}

void Resampler::copy(const uint8_t* src, size_t stride, uint8_t* dst) const {
  for (const Taps::Row& down : down_.rows) {
    const uint8_t* row = src + stride * (down.first - down_.begin);
    for (const Taps::Row& across : across_.rows) dst = std::copy_n(row + 3 * (across.first - across_.begin), 3, dst);
  }
}

void Resampler::run(const uint8_t* src, size_t stride, uint8_t* dst) const {
  if (takes_single_samples(across_) && takes_single_samples(down_)) return copy(src, stride, dst);
  static thread_local Buffers buffers;
  const size_t from = size_t{3} * (across_.end - across_.begin), to = size_t{3} * across_.rows.size();
  const int height = static_cast<int>(down_.rows.size());
  buffers.lanes.resize(from * kLanes);
  buffers.mixed.resize(to * kLanes);
  for (int top = 0; top < height; top += kLanes) {
    const int rows = std::min(kLanes, height - top);
    for (size_t first = 0; first < from; first += kBlock) {
      const size_t count = std::min(kBlock, from - first);
      for (int lane = 0; lane < rows; ++lane) {
        const Taps::Row& row = down_.rows[top + lane];
        std::array<int16_t, kBlock> mixed_row;
        mix_rows(src + stride * (row.first - down_.begin) + first, stride, count, down_.weights.data() + row.at,
                 row.count, mixed_row.data());
        for (size_t i = 0; i < count; ++i) buffers.lanes[(first + i) * kLanes + lane] = mixed_row[i];
      }
    }
    mix_columns(buffers.lanes.data(), across_, buffers.mixed.data());
    for (int lane = 0; lane < rows; ++lane, dst += to) {
      for (size_t i = 0; i < to; ++i) dst[i] = buffers.mixed[i * kLanes + lane];
    }
  }
}

void resample_crop(const DecodedImage& src, const Crop& crop, int size, uint8_t* dst) {
  resample_to(src, crop, {size, size}, dst);
}

void resample(const DecodedImage& src, Size size, DecodedImage& dst) {
  dst.width = size.width;
  dst.height = size.height;
  dst.pixels.resize(size_t{3} * std::max(0, size.width) * std::max(0, size.height));
  resample_to(src, {0, 0, static_cast<double>(src.width), static_cast<double>(src.height)}, size, dst.pixels.data());
}

}  // namespace packhorse

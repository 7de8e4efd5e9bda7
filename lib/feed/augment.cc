#include "feed/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace {

constexpr int kChannels = 3;

constexpr std::array kCropModes = {&kRandomResizedCrop, &kRandomCrop};

/// For each output pixel along one axis: the source pixels that contribute to it, and their weights.
struct CropWeights {
  std::vector<int> index;     // (size, width): source pixel, already clamped to the image
  std::vector<float> weight;  // (size, width), each row sums to 1
  int width = 0;
};

/// A triangle filter of half-width max(1, step) around each output pixel's centre.
void make_weights(double begin, double length, int limit, int size, bool reversed, CropWeights& taps) {
  const double step = length / size;
  const double reach = std::max(1.0, step);
  taps.width = static_cast<int>(std::ceil(2 * reach)) + 1;
  taps.index.resize(static_cast<size_t>(size) * taps.width);
  taps.weight.resize(taps.index.size());
  for (int i = 0; i < size; ++i) {
    const double centre = begin + (i + 0.5) * step - 0.5;  // in source pixel numbers
    const int first = static_cast<int>(std::floor(centre - reach)) + 1;
    const size_t row = static_cast<size_t>(reversed ? size - 1 - i : i) * taps.width;
    double total = 0;
    for (int t = 0; t < taps.width; ++t) {
      const double share = std::max(0.0, 1 - std::abs(first + t - centre) / reach);
      taps.index[row + t] = std::clamp(first + t, 0, limit - 1);
      taps.weight[row + t] = static_cast<float>(share);
      total += share;
    }
    for (int t = 0; t < taps.width; ++t) taps.weight[row + t] /= static_cast<float>(total);
  }
}

bool whole(double value) { return value == std::floor(value); }

void copy_crop(const DecodedImage& src, const Crop& crop, int size, uint8_t* dst) {
  const int x = static_cast<int>(crop.x), y = static_cast<int>(crop.y);
  for (int row = 0; row < size; ++row) {
    const uint8_t* line =
        src.pixels.data() + static_cast<size_t>(std::clamp(y + row, 0, src.height - 1)) * src.width * kChannels;
    for (int column = 0; column < size; ++column, dst += kChannels) {
      const int from = x + (crop.flip ? size - 1 - column : column);
      const uint8_t* pixel = line + static_cast<size_t>(std::clamp(from, 0, src.width - 1)) * kChannels;
      for (int c = 0; c < kChannels; ++c) dst[c] = pixel[c];
    }
  }
}

/// Resamples one source row to `size` pixels, as floats.
void resample_row(const uint8_t* line, const CropWeights& taps, int size, float* dst) {
  for (int i = 0; i < size; ++i, dst += kChannels) {
    float sum[kChannels] = {};
    const size_t row = static_cast<size_t>(i) * taps.width;
    for (int t = 0; t < taps.width; ++t) {
      const uint8_t* pixel = line + static_cast<size_t>(taps.index[row + t]) * kChannels;
      for (int c = 0; c < kChannels; ++c) sum[c] += taps.weight[row + t] * pixel[c];
    }
    for (int c = 0; c < kChannels; ++c) dst[c] = sum[c];
  }
}

/// Buffers that a thread reuses for every image.
struct ResampleScratch {
  CropWeights across, down;
  std::vector<float> rows;  // (source rows that the crop covers, size, 3)
  std::vector<float> sum;   // (size, 3)
};

}  // namespace

std::vector<std::string> crop_mode_names() {
  std::vector<std::string> names;
  names.reserve(kCropModes.size());
  for (const CropMode* mode : kCropModes) names.emplace_back(mode->name);
  return names;
}

const CropMode& crop_mode_from(const std::string& name) {
  for (const CropMode* mode : kCropModes) {
    if (name == mode->name) return *mode;
  }
  throw UsageError({"unknown crop mode '" + name + "'", "crop", "use one of " + joined(crop_mode_names())});
}

Crop evaluation_crop(const AugmentOptions& options, int width, int height) {
  const double scale = static_cast<double>(std::min(width, height)) / options.resize;
  const double side = options.size * scale;
  return {(width - side) / 2, (height - side) / 2, side, side, false};
}

Crop training_crop(const AugmentOptions& options, int width, int height, uint64_t epoch, uint64_t id) {
  RandomStream random(options.seed, RandomUse::augment, epoch, id);
  const bool flip = options.flip > 0 && random.uniform() >= 1 - options.flip;
  Crop crop = options.crop->make(options, width, height, random);
  crop.flip = flip;
  return crop;
}

void resample_crop(const DecodedImage& src, const Crop& crop, int size, uint8_t* dst) {
  if (crop.width == size && crop.height == size && whole(crop.x) && whole(crop.y)) {
    copy_crop(src, crop, size, dst);
    return;
  }
  static thread_local ResampleScratch scratch;
  make_weights(crop.x, crop.width, src.width, size, crop.flip, scratch.across);
  make_weights(crop.y, crop.height, src.height, size, false, scratch.down);
  const auto [low, high] = std::minmax_element(scratch.down.index.begin(), scratch.down.index.end());
  const int top = *low, rows = *high - *low + 1;
  const size_t row_floats = static_cast<size_t>(size) * kChannels;
  scratch.rows.resize(static_cast<size_t>(rows) * row_floats);
  scratch.sum.resize(row_floats);
  for (int row = 0; row < rows; ++row) {
    resample_row(src.pixels.data() + static_cast<size_t>(top + row) * src.width * kChannels, scratch.across, size,
                 scratch.rows.data() + static_cast<size_t>(row) * row_floats);
  }
  for (int i = 0; i < size; ++i) {
    std::fill(scratch.sum.begin(), scratch.sum.end(), 0.5f);  // so that truncation rounds to nearest
    for (int t = 0; t < scratch.down.width; ++t) {
      const size_t tap = static_cast<size_t>(i) * scratch.down.width + t;
      const float weight = scratch.down.weight[tap];
      if (weight == 0) continue;
      const float* row = scratch.rows.data() + static_cast<size_t>(scratch.down.index[tap] - top) * row_floats;
      for (size_t k = 0; k < row_floats; ++k) scratch.sum[k] += weight * row[k];
    }
    for (size_t k = 0; k < row_floats; ++k) *dst++ = static_cast<uint8_t>(std::min(scratch.sum[k], 255.0f));
  }
}

void decode_crop(std::span<const std::byte> jpeg, const JpegInfo& info, const Crop& crop, int size,
                 DecodedImage& scratch, uint8_t* dst) {
  // Only 8/8, 4/8, 2/8 and 1/8: libjpeg-turbo has no SIMD transform for the eighths between them, and decoding more
  // pixels is faster.
  int eighths = 8;
  const double shorter = std::min(crop.width, crop.height);
  while (eighths > 1 && shorter * eighths / 16 >= size) eighths /= 2;
  const double factor = eighths / 8.0;
  Crop scaled{crop.x * factor, crop.y * factor, crop.width * factor, crop.height * factor, crop.flip};
  const int width = (info.width * eighths + 7) / 8, height = (info.height * eighths + 7) / 8;
  const auto margin = [size](double length) { return std::max(1.0, length / size) + 1; };
  const auto low = [](double at, int limit) { return std::clamp(static_cast<int>(std::floor(at)), 0, limit - 1); };
  Region region;
  region.x = low(scaled.x - margin(scaled.width), width);
  region.y = low(scaled.y - margin(scaled.height), height);
  region.width = low(scaled.x + scaled.width + margin(scaled.width), width) + 1 - region.x;
  region.height = low(scaled.y + scaled.height + margin(scaled.height), height) + 1 - region.y;
  if (region.width == width && region.height == height) {
    decode_jpeg(jpeg, scratch, eighths);
  } else {
    decode_jpeg_region(jpeg, region, eighths, scratch);
  }
  scaled.x -= region.x;
  scaled.y -= region.y;
  resample_crop(scratch, scaled, size, dst);
}

}  // namespace packhorse

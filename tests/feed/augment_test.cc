#include "feed/augment.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/shards.h"

namespace packhorse {
namespace {

using test::made_image;

DecodedImage random_image(int width, int height) {
  DecodedImage image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  uint32_t state = 12345;
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return image;
}

const uint8_t* pixel(const DecodedImage& image, int x, int y) {
  x = std::clamp(x, 0, image.width - 1);
  y = std::clamp(y, 0, image.height - 1);
  return image.pixels.data() + (static_cast<size_t>(y) * image.width + x) * 3;
}

/// The definition, in plain loops and double precision: a triangle filter as wide as the reduction, edges repeated.
std::vector<double> plain_resample(const DecodedImage& src, const Crop& crop, int size) {
  std::vector<double> dst(static_cast<size_t>(size) * size * 3);
  const double sx = crop.width / size, sy = crop.height / size;
  const double rx = std::max(1.0, sx), ry = std::max(1.0, sy);
  for (int j = 0; j < size; ++j) {
    for (int i = 0; i < size; ++i) {
      const double cx = crop.x + (i + 0.5) * sx - 0.5, cy = crop.y + (j + 0.5) * sy - 0.5;
      double sum[3] = {}, weights = 0;
      for (int y = static_cast<int>(std::floor(cy - ry)); y <= std::ceil(cy + ry); ++y) {
        for (int x = static_cast<int>(std::floor(cx - rx)); x <= std::ceil(cx + rx); ++x) {
          const double weight = std::max(0.0, 1 - std::abs(x - cx) / rx) * std::max(0.0, 1 - std::abs(y - cy) / ry);
          for (int c = 0; c < 3; ++c) sum[c] += weight * pixel(src, x, y)[c];
          weights += weight;
        }
      }
      const int column = crop.flip ? size - 1 - i : i;
      for (int c = 0; c < 3; ++c) dst[(static_cast<size_t>(j) * size + column) * 3 + c] = sum[c] / weights;
    }
  }
  return dst;
}

class Resample : public ::testing::TestWithParam<Crop> {};

TEST_P(Resample, MatchesItsDefinition) {
  const DecodedImage src = random_image(53, 41);
  for (const int size : {1, 7, 16, 40}) {
    std::vector<uint8_t> dst(static_cast<size_t>(size) * size * 3);
    resample_crop(src, GetParam(), size, dst.data());
    const std::vector<double> expected = plain_resample(src, GetParam(), size);
    // Rounding to a byte is off by 0.5; the float sums of values up to 255 by far less than 0.01.
    for (size_t i = 0; i < dst.size(); ++i) ASSERT_NEAR(dst[i], expected[i], 0.51) << "size " << size << " at " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(Crops, Resample,
                         ::testing::Values(Crop{0, 0, 53, 41, false}, Crop{5, 6, 30, 20, false},
                                           Crop{5, 6, 30, 20, true}, Crop{-4, -4, 40, 40, false},
                                           Crop{3.25, 1.75, 16, 16, true}, Crop{20, 10, 7, 7, false},
                                           Crop{13, 9, 16, 16, true}, Crop{40, 30, 16, 16, false}));

TEST(Augment, CropDependsOnlyOnSeedEpochAndImage) {
  AugmentOptions options;
  const Crop crop = training_crop(options, 500, 375, 3, 1234);
  const auto same = [&](const Crop& other) {
    return crop.x == other.x && crop.y == other.y && crop.width == other.width && crop.height == other.height;
  };
  EXPECT_TRUE(same(training_crop(options, 500, 375, 3, 1234)));
  EXPECT_FALSE(same(training_crop(options, 500, 375, 4, 1234)));
  EXPECT_FALSE(same(training_crop(options, 500, 375, 3, 1235)));
  options.seed = 99;
  EXPECT_FALSE(same(training_crop(options, 500, 375, 3, 1234)));
}

TEST(Augment, RandomResizedCropStaysWithinLimits) {
  AugmentOptions options;
  options.min_area = 0.2;
  size_t flipped = 0;
  constexpr uint64_t kTimes = 2000;
  for (uint64_t id = 0; id < kTimes; ++id) {
    const Crop crop = training_crop(options, 400, 300, 0, id);
    ASSERT_GE(crop.x, 0);
    ASSERT_GE(crop.y, 0);
    ASSERT_LE(crop.x + crop.width, 400);
    ASSERT_LE(crop.y + crop.height, 300);
    // Sides are rounded to whole pixels, each by at most a half.
    ASSERT_GE((crop.width + 0.5) * (crop.height + 0.5), 0.2 * 400 * 300);
    ASSERT_LE((crop.width - 0.5) / (crop.height + 0.5), options.max_aspect);
    ASSERT_LE((crop.height - 0.5) / (crop.width + 0.5), options.max_aspect);
    flipped += crop.flip ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(flipped), kTimes / 2.0, 5 * std::sqrt(kTimes / 4.0));
}

TEST(Augment, TheProbabilityOfAFlipHolds) {
  AugmentOptions options;
  constexpr uint64_t kTimes = 4000;
  for (const double probability : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    options.flip = probability;
    size_t flipped = 0;
    for (uint64_t id = 0; id < kTimes; ++id) flipped += training_crop(options, 400, 300, 0, id).flip ? 1 : 0;
    // Five standard deviations of a binomial distribution; none at all for 0 and 1.
    const double deviation = std::sqrt(kTimes * probability * (1 - probability));
    EXPECT_NEAR(static_cast<double>(flipped), kTimes * probability, 5 * deviation) << probability;
  }
}

TEST(Augment, EveryCropModeHasItsName) {
  for (const std::string& name : crop_mode_names()) EXPECT_EQ(crop_mode_from(name).name, name);
  EXPECT_THROW(crop_mode_from("centre"), UsageError);
}

TEST(Augment, VeryLongImagesGetACentreCrop) {
  AugmentOptions options;
  options.min_area = 0.9;
  const Crop crop = training_crop(options, 2000, 30, 0, 5);
  EXPECT_EQ(crop.height, 30);
  EXPECT_EQ(crop.width, 40);
  EXPECT_EQ(crop.x, 980);
}

TEST(Augment, RandomCropUsesEveryOffset) {
  AugmentOptions options;
  options.crop = &kRandomCrop;
  options.size = options.resize = 28;
  options.pad = 2;
  options.flip = 0;
  std::map<std::pair<double, double>, int> offsets;
  for (uint64_t id = 0; id < 2500; ++id) {
    const Crop crop = training_crop(options, 28, 28, 0, id);
    ASSERT_EQ(crop.width, 28);
    ++offsets[{crop.x, crop.y}];
  }
  EXPECT_EQ(offsets.size(), 25u);
  for (const auto& [offset, times] : offsets) {
    EXPECT_LE(std::abs(offset.first), 2);
    EXPECT_LE(std::abs(offset.second), 2);
    EXPECT_NEAR(times, 100, 5 * std::sqrt(100 * 0.96));
  }
}

TEST(Augment, EvaluationCropsTheCentre) {
  AugmentOptions options;
  options.size = 224;
  options.resize = 256;
  const Crop crop = evaluation_crop(options, 512, 1024);
  EXPECT_EQ(crop.width, 448);
  EXPECT_EQ(crop.height, 448);
  EXPECT_EQ(crop.x, 32);
  EXPECT_EQ(crop.y, 288);
  const Crop small = evaluation_crop(options, 64, 64);  // enlarged
  EXPECT_EQ(small.width, 56);
}

TEST(Augment, DecodingOnlyTheCropGivesTheSamePixels) {
  const DecodedImage image = made_image(7, 3, 300, 220);
  const std::vector<std::byte> jpeg = encode_jpeg(image, 90);
  const JpegInfo info = read_jpeg_info(jpeg);
  DecodedImage whole, scratch;
  decode_jpeg(jpeg, whole);
  for (const Crop crop : {Crop{100, 50, 70, 60, true}, Crop{0, 0, 300, 220, false}, Crop{280, 200, 20, 20, false},
                          Crop{-8, -8, 80, 80, true}}) {
    constexpr int kSize = 48;
    std::vector<uint8_t> expected(kSize * kSize * 3), found(expected.size());
    resample_crop(whole, crop, kSize, expected.data());
    if (std::min(crop.width, crop.height) < 2 * kSize) {
      decode_crop(jpeg, info, crop, kSize, scratch, found.data());
      EXPECT_EQ(expected, found) << crop.x;
    }
  }
}

TEST(Augment, LargeCropsAreReducedInTheDct) {
  // Smooth content: reducing in the DCT and with the filter agree to a few of 255 levels.
  DecodedImage image{512, 512, std::vector<uint8_t>(512 * 512 * 3)};
  for (int y = 0; y < 512; ++y)
    for (int x = 0; x < 512; ++x)
      for (int c = 0; c < 3; ++c)
        image.pixels[(static_cast<size_t>(y) * 512 + x) * 3 + c] = static_cast<uint8_t>((x + y) / 4);
  const std::vector<std::byte> jpeg = encode_jpeg(image, 100);
  DecodedImage whole, scratch;
  decode_jpeg(jpeg, whole);
  const Crop crop{10, 20, 480, 400, false};
  std::vector<uint8_t> expected(32 * 32 * 3), found(expected.size());
  resample_crop(whole, crop, 32, expected.data());
  decode_crop(jpeg, read_jpeg_info(jpeg), crop, 32, scratch, found.data());
  EXPECT_LE(scratch.width, 64);  // an eighth of 512
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], found[i], 3);
}

TEST(Augment, GreyAndTinyImages) {
  const std::vector<uint8_t> grey(5 * 3, 90);
  const std::vector<std::byte> jpeg = encode_grey_jpeg(grey, 5, 3, 95);
  const JpegInfo info = read_jpeg_info(jpeg);
  AugmentOptions options;
  options.size = 64;
  options.resize = 73;
  DecodedImage scratch;
  std::vector<uint8_t> dst(64 * 64 * 3);
  for (uint64_t id = 0; id < 20; ++id) {
    decode_crop(jpeg, info, training_crop(options, info.width, info.height, 0, id), 64, scratch, dst.data());
    for (const uint8_t value : dst) ASSERT_NEAR(value, 90, 2);
  }
  options.crop = &kRandomCrop;
  options.pad = 9;
  for (uint64_t id = 0; id < 20; ++id) {
    decode_crop(jpeg, info, training_crop(options, info.width, info.height, 0, id), 64, scratch, dst.data());
    for (const uint8_t value : dst) ASSERT_NEAR(value, 90, 2);
  }
}

TEST(Augment, UnknownCropModeIsRefused) { EXPECT_THROW(crop_mode_from("centre"), UsageError); }

}  // namespace
}  // namespace packhorse

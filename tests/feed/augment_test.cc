#include "feed/augment.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/jpeg.h"

namespace packhorse {
namespace {

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

TEST(Augment, GreyAndTinyImages) {
  const std::vector<uint8_t> grey(5 * 3, 90);
  const std::vector<std::byte> jpeg = encode_grey_jpeg(grey, 5, 3, 95);
  const Size image = read_image_size(jpeg);
  AugmentOptions options;
  options.size = 64;
  options.resize = 73;
  DecodedImage scratch;
  std::vector<uint8_t> dst(64 * 64 * 3);
  for (uint64_t id = 0; id < 20; ++id) {
    decode_crop(jpeg, image, training_crop(options, image.width, image.height, 0, id), 64, scratch, dst.data());
    for (const uint8_t value : dst) ASSERT_NEAR(value, 90, 2);
  }
  options.crop = &kRandomCrop;
  options.pad = 9;
  for (uint64_t id = 0; id < 20; ++id) {
    decode_crop(jpeg, image, training_crop(options, image.width, image.height, 0, id), 64, scratch, dst.data());
    for (const uint8_t value : dst) ASSERT_NEAR(value, 90, 2);
  }
}

TEST(Augment, UnknownCropModeIsRefused) { EXPECT_THROW(crop_mode_from("centre"), UsageError); }

}  // namespace
}  // namespace packhorse

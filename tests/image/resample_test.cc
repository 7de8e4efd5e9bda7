#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "image/jpeg_samples.h"

namespace packhorse {
namespace {

DecodedImage flat(int width, int height, uint8_t value) {
  return {width, height, std::vector<uint8_t>(size_t{3} * width * height, value)};
}

TEST(Resample, SizesKeepTheAspectRatio) {
  EXPECT_EQ(shrunk_to_short_edge({500, 375}, 256), (Size{341, 256}));
  EXPECT_EQ(shrunk_to_short_edge({375, 500}, 256), (Size{256, 341}));
  EXPECT_EQ(shrunk_to_short_edge({300, 300}, 256), (Size{256, 256}));
  EXPECT_EQ(shrunk_to_short_edge({256, 900}, 256), (Size{256, 900}));
  EXPECT_EQ(shrunk_to_short_edge({32, 28}, 256), (Size{32, 28}));
  EXPECT_EQ(shrunk_to_short_edge({32768, 257}, 256), (Size{32640, 256}));  // 32640.498, to nearest
}

TEST(Resample, AFlatImageKeepsItsValue) {
  DecodedImage dst;
  for (const uint8_t value : {0, 1, 127, 254, 255}) {
    for (const Size size : {Size{1, 1}, Size{7, 5}, Size{64, 48}, Size{65, 3}, Size{200, 190}}) {
      resample(flat(64, 48, value), size, dst);
      EXPECT_EQ(dst.width, size.width);
      EXPECT_EQ(dst.pixels, flat(size.width, size.height, value).pixels);
    }
  }
}

TEST(Resample, SameSizeIsTheSameImage) {
  const DecodedImage src = smooth_image(61, 43);
  DecodedImage dst;
  resample(src, {61, 43}, dst);
  EXPECT_EQ(dst.pixels, src.pixels);
}

TEST(Resample, HalvingACheckerboardGivesGreyNotStripes) {
  DecodedImage board = flat(64, 64, 0), dst;
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 64; ++x) {
      for (int c = 0; c < 3; ++c) board.pixels[3 * (64 * y + x) + c] = (x + y) % 2 != 0 ? 255 : 0;
    }
  }
  resample(board, {32, 32}, dst);
  for (int y = 1; y < 31; ++y) {
    for (int x = 3; x < 93; ++x) EXPECT_NEAR(dst.pixels[96 * y + x], 127.5, 1) << x << ',' << y;
  }
}

TEST(Resample, AGradientStaysAGradient) {
  const DecodedImage src = smooth_image(300, 200);
  DecodedImage dst;
  resample(src, {120, 80}, dst);
  const DecodedImage want = smooth_image(120, 80);
  // Both round the same linear gradients, sampled up to half a source pixel (160 / 300 / 2) apart, and clamp at the
  // edge.
  for (int y = 2; y < 78; ++y) {
    for (int x = 2; x < 118; ++x) {
      for (int c = 0; c < 3; ++c) {
        const size_t i = 3 * (120 * y + x) + c;
        EXPECT_NEAR(dst.pixels[i], want.pixels[i], 3);
      }
    }
  }
}

TEST(Resample, ShrinkingAHundredfoldGivesTheMean) {
  DecodedImage noise = flat(3000, 7, 0), dst;
  RandomStream random(8, RandomUse::test, 0, 0);
  for (uint8_t& value : noise.pixels) value = static_cast<uint8_t>(random.next());
  resample(noise, {10, 1}, dst);
  // Each value is a weighted mean of 600 x 7 random bytes (deviation 73.9); the triangle weights make it 1.4 or less.
  for (const uint8_t value : dst.pixels) EXPECT_NEAR(value, 127.5, 7);
}

TEST(Resample, BadSizesAreRefused) {
  DecodedImage dst;
  EXPECT_THROW(resample(DecodedImage{}, {4, 4}, dst), Error);
  EXPECT_THROW(resample(flat(4, 4, 1), {0, 4}, dst), Error);
}

// ---- The definition, in plain loops and double precision ----------------------------------------------------------

DecodedImage random_image(int width, int height) {
  DecodedImage image = flat(width, height, 0);
  RandomStream random(9, RandomUse::test, 0, 0);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.next());
  return image;
}

const uint8_t* pixel(const DecodedImage& image, int x, int y) {
  x = std::clamp(x, 0, image.width - 1);
  y = std::clamp(y, 0, image.height - 1);
  return image.pixels.data() + (size_t{1} * y * image.width + x) * 3;
}

/// A triangle filter as wide as the step between result pixels, edges repeated.
std::vector<double> plain_resample(const DecodedImage& src, const Crop& crop, Size size) {
  std::vector<double> dst(size_t{3} * size.width * size.height);
  const double sx = crop.width / size.width, sy = crop.height / size.height;
  const double rx = std::max(1.0, sx), ry = std::max(1.0, sy);
  for (int j = 0; j < size.height; ++j) {
    for (int i = 0; i < size.width; ++i) {
      const double cx = crop.x + (i + 0.5) * sx - 0.5, cy = crop.y + (j + 0.5) * sy - 0.5;
      double sum[3] = {}, weights = 0;
      for (int y = static_cast<int>(std::floor(cy - ry)); y <= std::ceil(cy + ry); ++y) {
        for (int x = static_cast<int>(std::floor(cx - rx)); x <= std::ceil(cx + rx); ++x) {
          const double weight = std::max(0.0, 1 - std::abs(x - cx) / rx) * std::max(0.0, 1 - std::abs(y - cy) / ry);
          for (int c = 0; c < 3; ++c) sum[c] += weight * pixel(src, x, y)[c];
          weights += weight;
        }
      }
      const int column = crop.flip ? size.width - 1 - i : i;
      for (int c = 0; c < 3; ++c) dst[(size_t{1} * j * size.width + column) * 3 + c] = sum[c] / weights;
    }
  }
  return dst;
}

/// The most by which integer arithmetic may differ from it, in levels of 255. A weight's running sum is rounded to
/// 2^-14, that is by 2^-15, in front of each of the steps between neighbouring samples (255 at most), of which a
/// triangle of half-width `reach` has fewer than 2 * reach. Rows are then rounded to 1/128, and the result to 1.
double tolerance(const Crop& crop, Size size) {
  const double across = std::max(1.0, crop.width / size.width), down = std::max(1.0, crop.height / size.height);
  return 0.5 + 0.5 / 128 + 255.0 / 32768 * 2 * (across + down);
}

class Definition : public ::testing::TestWithParam<Crop> {};

TEST_P(Definition, ACropHasItsValues) {
  const DecodedImage src = random_image(53, 41);
  for (const int size : {1, 7, 16, 40}) {
    std::vector<uint8_t> dst(size_t{3} * size * size);
    resample_crop(src, GetParam(), size, dst.data());
    const std::vector<double> expected = plain_resample(src, GetParam(), {size, size});
    const double allowed = tolerance(GetParam(), {size, size});
    for (size_t i = 0; i < dst.size(); ++i) ASSERT_NEAR(dst[i], expected[i], allowed) << "size " << size << " at " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(Crops, Definition,
                         ::testing::Values(Crop{0, 0, 53, 41, false}, Crop{5, 6, 30, 20, false},
                                           Crop{5, 6, 30, 20, true}, Crop{-4, -4, 40, 40, false},
                                           Crop{3.25, 1.75, 16, 16, true}, Crop{20, 10, 7, 7, false},
                                           Crop{13, 9, 16, 16, true}, Crop{40, 30, 16, 16, false}));

TEST(Resample, AWholeImageHasTheValuesOfTheDefinitionUpToItsEdges) {
  const DecodedImage src = random_image(53, 41);
  const Crop all{0, 0, 53, 41, false};
  DecodedImage dst;
  for (const Size size : {Size{26, 20}, Size{9, 11}, Size{70, 41}}) {
    resample(src, size, dst);
    const std::vector<double> expected = plain_resample(src, all, size);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(dst.pixels[i], expected[i], tolerance(all, size)) << i;
  }
}

TEST(Resample, ACropOfItsSizeOnWholePixelsIsACopy) {
  const DecodedImage src = random_image(53, 41);
  std::vector<uint8_t> dst(size_t{3} * 16 * 16);
  for (const bool flip : {false, true}) {
    resample_crop(src, {-3, 30, 16, 16, flip}, 16, dst.data());
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        const uint8_t* want = pixel(src, -3 + (flip ? 15 - x : x), 30 + y);
        for (int c = 0; c < 3; ++c) ASSERT_EQ(dst[(size_t{16} * y + x) * 3 + c], want[c]) << x << ", " << y;
      }
    }
  }
}

TEST(Resample, OnlyTheRegionThatHasWeightsIsRead) {
  const Region inside = Resampler({100, 80}, {20, 30, 32, 16, true}, {16, 16}).region();
  // Steps of 2 and 1: the outermost centres are half a step inside the crop, and the triangle reaches a whole step.
  EXPECT_EQ(inside.x, 19);
  EXPECT_EQ(inside.width, 34);
  EXPECT_EQ(inside.y, 30);
  EXPECT_EQ(inside.height, 16);
  const Region beyond = Resampler({100, 80}, {-50, -50, 20, 20, false}, {4, 4}).region();
  EXPECT_EQ(beyond.width, 1);
  EXPECT_EQ(beyond.height, 1);
}

}  // namespace
}  // namespace packhorse

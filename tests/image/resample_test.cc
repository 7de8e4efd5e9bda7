#include "image/resample.h"

#include <algorithm>
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

}  // namespace
}  // namespace packhorse

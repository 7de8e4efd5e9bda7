// Samples are taken as they are stored: 16 bits are scaled to 8, and nothing applies a gamma. The values expected here
// are arithmetic on the stored ones.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/png_samples.h"

namespace packhorse {
namespace {

std::vector<uint8_t> pixels_of(const PngSample& sample) {
  DecodedImage image;
  decode_image(make_png(sample), image);
  EXPECT_EQ(image.width, sample.width);
  EXPECT_EQ(image.height, sample.height);
  return image.pixels;
}

/// 65,535 becomes 255, with all between in proportion.
uint8_t to_8_bits(unsigned value) { return static_cast<uint8_t>(std::lround(value / 257.0)); }

/// Blended with white.
uint8_t over_white(unsigned value, unsigned alpha) {
  return static_cast<uint8_t>(std::lround((value * alpha + 255.0 * (255 - alpha)) / 255));
}

// The ends, the middle, values on both sides of a rounding, and 1,666, which a gamma for linear light makes 48.
const std::vector<unsigned> kSamples16 = {0, 1, 128, 129, 256, 257, 1666, 32767, 32768, 40000, 65406, 65407, 65535};

TEST(Png, GreyOf16BitsIsScaledAndNothingElse) {
  const std::vector<uint8_t> pixels = pixels_of({.width = static_cast<int>(kSamples16.size()),
                                                 .depth = 16,
                                                 .colour = PNG_COLOR_TYPE_GRAY,
                                                 .samples = kSamples16});
  for (size_t i = 0; i < kSamples16.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(pixels[3 * i + c], to_8_bits(kSamples16[i])) << kSamples16[i];
  }
  EXPECT_EQ(pixels[3 * 6], 6) << "1,666 of 65,535";
}

TEST(Png, EveryValueOf16BitsIsRoundedToTheNearestOf8) {
  PngSample sample{.width = 256, .height = 256, .depth = 16, .colour = PNG_COLOR_TYPE_GRAY};
  for (unsigned value = 0; value < 65536; ++value) sample.samples.push_back(value);
  const std::vector<uint8_t> pixels = pixels_of(sample);
  for (unsigned value = 0; value < 65536; ++value) ASSERT_EQ(pixels[3 * value], to_8_bits(value)) << value;
}

TEST(Png, RgbOf16BitsIsScaledAndNothingElse) {
  PngSample sample{.width = static_cast<int>(kSamples16.size()), .depth = 16};
  for (const unsigned value : kSamples16) {
    sample.samples.insert(sample.samples.end(), {value, 65535 - value, (value * 7) % 65536});
  }
  const std::vector<uint8_t> pixels = pixels_of(sample);
  for (size_t i = 0; i < pixels.size(); ++i) EXPECT_EQ(pixels[i], to_8_bits(sample.samples[i])) << sample.samples[i];
}

TEST(Png, RgbaOf16BitsIsScaledThenBlendedWithWhite) {
  for (const int colour : {PNG_COLOR_TYPE_RGB_ALPHA, PNG_COLOR_TYPE_GRAY_ALPHA}) {
    const size_t channels = colour == PNG_COLOR_TYPE_RGB_ALPHA ? 3 : 1;
    PngSample sample{.width = 5 * static_cast<int>(kSamples16.size()), .depth = 16, .colour = colour};
    for (const unsigned alpha : {0u, 1666u, 20000u, 50000u, 65535u}) {
      for (const unsigned value : kSamples16) {
        for (size_t c = 0; c < channels; ++c) sample.samples.push_back((value + 9000 * c) % 65536);
        sample.samples.push_back(alpha);
      }
    }
    const std::vector<uint8_t> pixels = pixels_of(sample);
    for (size_t i = 0; i < pixels.size() / 3; ++i) {
      const unsigned* stored = sample.samples.data() + (channels + 1) * i;
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_EQ(pixels[3 * i + c], over_white(to_8_bits(stored[c % channels]), to_8_bits(stored[channels])))
            << stored[c % channels] << " with alpha " << stored[channels];
      }
    }
  }
}

TEST(Png, AGammaChunkChangesNoPixel) {
  for (const int depth : {8, 16}) {
    for (const int colour : {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA}) {
      const int channels = colour == PNG_COLOR_TYPE_GRAY ? 1 : colour == PNG_COLOR_TYPE_RGB ? 3 : 4;
      PngSample sample{.width = 64, .depth = depth, .colour = colour};
      for (int i = 0; i < 64 * channels; ++i)
        sample.samples.push_back((depth == 16 ? 257u * 997u : 997u) * i % (1u << depth));
      const std::vector<uint8_t> without = pixels_of(sample);
      for (const double gamma : {1.0, 0.45455, 0.7}) {
        sample.gamma = gamma;
        EXPECT_EQ(pixels_of(sample), without) << depth << " bits, colour type " << colour << ", gamma " << gamma;
      }
    }
  }
}

TEST(Png, FewBitsAreStretchedToAllOf8) {
  for (const int depth : {1, 2, 4}) {
    const unsigned most = (1u << depth) - 1;
    PngSample sample{.width = static_cast<int>(most) + 1, .depth = depth, .colour = PNG_COLOR_TYPE_GRAY};
    for (unsigned value = 0; value <= most; ++value) sample.samples.push_back(value);
    const std::vector<uint8_t> pixels = pixels_of(sample);
    for (unsigned value = 0; value <= most; ++value) EXPECT_EQ(pixels[3 * value], 255 / most * value) << depth;
  }
}

TEST(Png, APaletteGivesItsColoursAndTheirTransparency) {
  const std::vector<png_color> palette = {{10, 20, 30}, {200, 100, 50}, {0, 255, 7}};
  const std::vector<uint8_t> alphas = {255, 100};  // the last colour has none, so it is opaque
  for (const int depth : {2, 4, 8}) {
    PngSample sample{.width = 3, .depth = depth, .colour = PNG_COLOR_TYPE_PALETTE, .samples = {2, 0, 1}};
    sample.palette = palette;
    EXPECT_EQ(pixels_of(sample), (std::vector<uint8_t>{0, 255, 7, 10, 20, 30, 200, 100, 50}));
    sample.alphas = alphas;
    EXPECT_EQ(pixels_of(sample), (std::vector<uint8_t>{0, 255, 7, 10, 20, 30, over_white(200, 100),
                                                       over_white(100, 100), over_white(50, 100)}));
  }
}

TEST(Png, ATransparentColourIsComparedBeforeItIsScaled) {
  // 1,666 and 1,667 are the same value of 8 bits; only one of them is transparent.
  EXPECT_EQ(
      pixels_of({.width = 2, .depth = 16, .colour = PNG_COLOR_TYPE_GRAY, .samples = {1666, 1667}, .invisible = {1666}}),
      (std::vector<uint8_t>{255, 255, 255, 6, 6, 6}));
  EXPECT_EQ(pixels_of({.width = 2, .samples = {1, 2, 3, 1, 2, 4}, .invisible = {1, 2, 3}}),
            (std::vector<uint8_t>{255, 255, 255, 1, 2, 4}));
}

TEST(Png, InterlacedIsTheSameImage) {
  for (const int colour : {PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA}) {
    for (const int depth : {8, 16}) {
      PngSample sample{.width = 13, .height = 11, .depth = depth, .colour = colour};
      const int channels = colour == PNG_COLOR_TYPE_RGB ? 3 : 4;
      for (unsigned i = 0; i < 13u * 11 * channels; ++i) sample.samples.push_back(i * i * 31 % (1u << depth));
      const std::vector<uint8_t> plain = pixels_of(sample);
      sample.interlaced = true;
      EXPECT_EQ(pixels_of(sample), plain) << "colour type " << colour << ", " << depth << " bits";
    }
  }
}

TEST(Png, HugeSizesAreRefusedBeforeAnythingIsAllocated) {
  // The header's checksum is right: a program wrote this, no disk damaged it.
  const std::vector<std::byte> bytes =
      make_png({.width = 40000, .depth = 1, .colour = PNG_COLOR_TYPE_GRAY, .samples = std::vector<unsigned>(40000)});
  DecodedImage image;
  EXPECT_THROW(decode_image(bytes, image), DamageError);
  EXPECT_TRUE(image.pixels.empty());
}

}  // namespace
}  // namespace packhorse

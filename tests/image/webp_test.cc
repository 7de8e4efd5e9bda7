#include <cstdlib>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/image_kinds.h"
#include "image/png_samples.h"
#include "image/webp_samples.h"

namespace packhorse {
namespace {

std::string error_of(const std::vector<std::byte>& bytes) {
  try {
    DecodedImage image;
    decode_image(bytes, image);
  } catch (const DamageError& error) {
    return error.what();
  }
  return "none";
}

TEST(WebP, LosslessGivesTheSamplesOfAPng) {
  for (const ImageKind kind : kImageKinds) {
    const DecodedImage image = image_of(kind, 37, 23);
    const std::vector<unsigned> samples(image.pixels.begin(), image.pixels.end());
    DecodedImage webp, png;
    const std::vector<std::byte> bytes = make_webp(37, 23, 3, image.pixels);
    EXPECT_EQ(read_image_size(bytes), (Size{37, 23}));
    decode_image(bytes, webp);
    decode_image(make_png({.width = 37, .height = 23, .samples = samples}), png);
    EXPECT_EQ(webp.width, 37);
    EXPECT_EQ(webp.height, 23);
    EXPECT_EQ(webp.pixels, png.pixels) << name_of(kind);
  }
}

TEST(WebP, TransparencyIsBlendedWithWhite) {
  // Opaque, gone, and two shares of 255.
  const std::vector<uint8_t> samples = {10, 20, 30, 255, 10, 20, 30, 0, 200, 100, 0, 51, 0, 0, 0, 204};
  DecodedImage image;
  decode_image(make_webp(4, 1, 4, samples), image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{10, 20, 30, 255, 255, 255, 244, 224, 204, 51, 51, 51}));
}

TEST(WebP, LossyIsNearerTheBetterItsQuality) {
  const DecodedImage original = image_of(ImageKind::smooth, 64, 48);
  const auto error = [&](const std::vector<uint8_t>& pixels) {
    int64_t sum = 0;
    for (size_t i = 0; i < pixels.size(); ++i) sum += std::abs(pixels[i] - original.pixels[i]);
    return sum;
  };
  const auto of_quality = [&](float quality) {
    DecodedImage image;
    decode_image(make_webp(64, 48, 3, original.pixels, quality), image);
    EXPECT_EQ(image.pixels.size(), original.pixels.size());
    return error(image.pixels);
  };
  EXPECT_LT(of_quality(100), of_quality(50));
  EXPECT_LT(of_quality(50), of_quality(0));
  // The worst is nearer than the image itself with two of its channels exchanged.
  std::vector<uint8_t> exchanged = original.pixels;
  for (size_t i = 0; i + 2 < exchanged.size(); i += 3) std::swap(exchanged[i], exchanged[i + 2]);
  EXPECT_LT(of_quality(0), error(exchanged));
}

TEST(WebP, ACropIsThatOfTheWholeImage) {
  const DecodedImage original = image_of(ImageKind::noise, 50, 40);
  const std::vector<std::byte> bytes = make_webp(50, 40, 3, original.pixels);
  const Crop crop{.x = 7, .y = 5, .width = 30, .height = 31};
  std::vector<uint8_t> part(3 * 16 * 16), expected(3 * 16 * 16);
  DecodedImage scratch;
  decode_crop(bytes, read_image_size(bytes), crop, 16, scratch, part.data());
  resample_crop(original, crop, 16, expected.data());
  EXPECT_EQ(part, expected);
}

TEST(WebP, WhatIsCutOffIsDamagedAtEveryLength) {
  const DecodedImage original = image_of(ImageKind::strokes, 40, 30);
  for (const float quality : {-1.0f, 80.0f}) {
    const std::vector<std::byte> bytes = make_webp(40, 30, 3, original.pixels, quality);
    for (size_t length = 12; length + 1 < bytes.size(); ++length)
      ASSERT_NE(error_of({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}).find("not a sound WebP"),
                std::string::npos)
          << length << " of " << bytes.size();
  }
}

TEST(WebP, FlippedBitsAreDamageOrAnotherImage) {
  const std::vector<std::byte> bytes = make_webp(40, 30, 3, image_of(ImageKind::noise, 40, 30).pixels);
  for (size_t i = 12; i < bytes.size(); i += 7) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{0x10};
    const std::string error = error_of(damaged);
    EXPECT_TRUE(error == "none" || error.find("WebP") != std::string::npos ||
                error.find("too large") != std::string::npos)
        << i << ": " << error;
  }
}

TEST(WebP, AnimationsAreRefused) {
  // RIFF, WEBP, VP8X with the animation's bit, 8 x 8 pixels.
  const std::string text("RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0", 30);
  std::vector<std::byte> bytes;
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  EXPECT_NE(error_of(bytes).find("animated"), std::string::npos) << error_of(bytes);
}

}  // namespace
}  // namespace packhorse

#include "image/decode.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "image/image_kinds.h"
#include "image/jpeg_samples.h"
#include "image/png_samples.h"

namespace packhorse {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string error_of(std::span<const std::byte> bytes) {
  DecodedImage image;
  try {
    decode_image(bytes, image);
  } catch (const DamageError& error) {
    return error.what();
  }
  return "none";
}

TEST(Image, FormatsAreRecognisedByTheirFirstBytes) {
  EXPECT_EQ(image_format(make_jpeg({})), "JPEG");
  EXPECT_EQ(image_format(make_png({.samples = {1, 2, 3}})), "PNG");
  EXPECT_EQ(image_format(bytes_of("GIF89a...")), "GIF");
  EXPECT_EQ(image_format(bytes_of("RIFF1234WEBPVP8 ")), "WebP");
  EXPECT_EQ(image_format(bytes_of("BM123")), "BMP");
  for (const char* few : {"a", "ab", "abc", "RIFF", "RIFF123"}) EXPECT_EQ(image_format(bytes_of(few)), "unknown");
  EXPECT_EQ(image_format(bytes_of(std::string("II*\0", 4))), "TIFF");
  EXPECT_EQ(image_format(bytes_of("\n <!DOCTYPE html><p>")), "HTML page");
  EXPECT_EQ(image_format(bytes_of("what is this")), "unknown");
  EXPECT_EQ(image_format({}), "empty");
}

TEST(Image, OtherFormatsAreRefusedByName) {
  EXPECT_NE(error_of(bytes_of("GIF89a...")).find("GIF"), std::string::npos);
  EXPECT_NE(error_of(bytes_of("<html>")).find("HTML"), std::string::npos);
  EXPECT_NE(error_of(bytes_of("what is this")).find("known format"), std::string::npos);
  EXPECT_NE(error_of({}).find("empty"), std::string::npos);
}

TEST(Image, PngPixelsAreExact) {
  DecodedImage image;
  decode_image(make_png({.width = 2, .samples = {1, 2, 3, 250, 251, 252}}), image);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.height, 1);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{1, 2, 3, 250, 251, 252}));
  decode_image(make_png({.height = 2, .colour = PNG_COLOR_TYPE_GRAY, .samples = {9, 200}}), image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{9, 9, 9, 200, 200, 200}));
}

TEST(Image, TransparencyIsBlendedWithWhite) {
  DecodedImage image;
  decode_image(make_png({.width = 2, .colour = PNG_COLOR_TYPE_RGB_ALPHA, .samples = {10, 20, 30, 255, 10, 20, 30, 0}}),
               image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{10, 20, 30, 255, 255, 255}));
}

TEST(Image, ATruncatedOrDamagedPngIsDamageNeverACrash) {
  DecodedImage noise{40, 30, std::vector<uint8_t>(40 * 30 * 3)};
  RandomStream random(2, RandomUse::test, 0, 0);
  for (uint8_t& value : noise.pixels) value = static_cast<uint8_t>(random.next());
  const auto bytes = make_png(noise);
  EXPECT_EQ(error_of(bytes), "none");
  for (size_t length = 0; length + 12 < bytes.size(); length += 16) {  // the last chunk holds no data
    EXPECT_NE(error_of(std::span(bytes).first(length)), "none") << length;
  }
  for (uint64_t i = 0; i < 300; ++i) {
    RandomStream where(2, RandomUse::test, 1, i);
    auto damaged = bytes;
    damaged[where.below(static_cast<uint32_t>(bytes.size()))] ^= std::byte{static_cast<uint8_t>(1u << where.below(8))};
    error_of(damaged);
  }
}

TEST(Image, SizesAreReadFromTheHeader) {
  EXPECT_EQ(read_image_size(make_jpeg({.width = 31, .height = 17})), (Size{31, 17}));
  EXPECT_EQ(read_image_size(make_png(DecodedImage{7, 5, std::vector<uint8_t>(105)})), (Size{7, 5}));
  EXPECT_THROW(read_image_size(bytes_of("GIF89a...")), DamageError);
  EXPECT_THROW(read_image_size({}), DamageError);
}

/// From enlarged to an eighth and less, whole and in part, on whole pixels and between them, beyond the edges, flipped.
const Crop kCrops[] = {{0, 0, 320, 240, false},      {100, 50, 70, 60, true},     {20, 30, 144, 144, false},
                       {10.5, 3.25, 288, 200, true}, {-40, -8, 288, 288, false},  {280, 200, 30, 20, false},
                       {133, 60, 36, 36, true},      {3.7, 9.1, 100.9, 80, false}};
constexpr int kSizes[] = {9, 36, 72, 100};

std::vector<uint8_t> crop_of(std::span<const std::byte> bytes, const Crop& crop, int size) {
  std::vector<uint8_t> pixels(size_t{3} * size * size);
  DecodedImage scratch;
  decode_crop(bytes, read_image_size(bytes), crop, size, scratch, pixels.data());
  return pixels;
}

TEST(Image, TheSamePixelsAreTheSameCropInEveryContainer) {
  for (const ImageKind kind : kImageKinds) {
    const std::vector<std::byte> jpeg = encode_jpeg(image_of(kind, 320, 240), 90);
    DecodedImage whole;
    decode_jpeg(jpeg, whole);
    const std::vector<std::byte> png = make_png(whole);  // lossless: the JPEG's pixels
    for (const Crop& crop : kCrops) {
      for (const int size : kSizes) {
        std::vector<uint8_t> expected(size_t{3} * size * size);
        resample_crop(whole, crop, size, expected.data());
        EXPECT_EQ(crop_of(png, crop, size), expected) << "PNG, " << name_of(kind) << ", " << crop.x << " to " << size;
        EXPECT_EQ(crop_of(jpeg, crop, size), expected) << "JPEG, " << name_of(kind) << ", " << crop.x << " to " << size;
      }
    }
  }
}

TEST(Image, AJpegOfQuality100IsTheSameCropAsThePngThatItWasMadeOf) {
  for (const ImageKind kind : kImageKinds) {
    const DecodedImage src = image_of(kind, 320, 240);
    const std::vector<std::byte> png = make_png(src), jpeg = encode_rgb_jpeg(src);
    for (const Crop& crop : kCrops) {
      if (std::min(crop.width, crop.height) < 2 * 36) continue;
      const std::vector<uint8_t> expected = crop_of(png, crop, 36), found = crop_of(jpeg, crop, 36);
      // At quality 100, without a change of colours, a JPEG rounds each coefficient to a whole number, an error of 0.29
      // (the root of 1/12) in the root mean square; decoding rounds each sample, together 0.41. A triangle for a step
      // of 2 or more has weights whose squares sum to 3/8 or less in each direction, which leaves 0.41 * 3/8 = 0.15 of
      // it. After rounding, two values differ by 2 only if they differed by more than 1 before: more than six times
      // that.
      for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1) << name_of(kind) << " at " << i;
    }
  }
}

}  // namespace
}  // namespace packhorse

#include "image/decode.h"

#include <gtest/gtest.h>
#include <png.h>

#include "base/error.h"
#include "base/philox.h"
#include "image/jpeg_samples.h"

namespace packhorse {
namespace {

std::vector<std::byte> make_png(int width, int height, uint32_t format, const std::vector<uint8_t>& samples) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(width);
  png.height = static_cast<png_uint_32>(height);
  png.format = format;
  png_alloc_size_t size = 0;
  EXPECT_NE(png_image_write_get_memory_size(png, size, 0, samples.data(), 0, nullptr), 0) << png.message;
  std::vector<std::byte> bytes(size);
  EXPECT_NE(png_image_write_to_memory(&png, bytes.data(), &size, 0, samples.data(), 0, nullptr), 0) << png.message;
  bytes.resize(size);
  return bytes;
}

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
  EXPECT_EQ(image_format(make_png(1, 1, PNG_FORMAT_RGB, {1, 2, 3})), "PNG");
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
  decode_image(make_png(2, 1, PNG_FORMAT_RGB, {1, 2, 3, 250, 251, 252}), image);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.height, 1);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{1, 2, 3, 250, 251, 252}));
  decode_image(make_png(1, 2, PNG_FORMAT_GRAY, {9, 200}), image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{9, 9, 9, 200, 200, 200}));
}

TEST(Image, TransparencyIsBlendedWithWhite) {
  DecodedImage image;
  decode_image(make_png(2, 1, PNG_FORMAT_RGBA, {10, 20, 30, 255, 10, 20, 30, 0}), image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{10, 20, 30, 255, 255, 255}));
}

TEST(Image, ATruncatedOrDamagedPngIsDamageNeverACrash) {
  std::vector<uint8_t> samples(40 * 30 * 3);
  RandomStream random(2, RandomUse::test, 0, 0);
  for (uint8_t& value : samples) value = static_cast<uint8_t>(random.next());
  const auto bytes = make_png(40, 30, PNG_FORMAT_RGB, samples);
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

TEST(Image, DecodingForAShortEdgeNeverGoesBelowIt) {
  DecodedImage image;
  const auto bytes = make_jpeg({.width = 640, .height = 480});
  for (const int edge : {1, 59, 60, 61, 120, 121, 240, 241, 480, 1000}) {
    decode_image_for(bytes, edge, image);
    EXPECT_GE(image.height, std::min(edge, 480));
    if (image.height < 480) {
      EXPECT_TRUE(image.height < 2 * edge || image.height == 60) << "a smaller scale is enough";
    }
  }
  decode_image_for(bytes, 120, image);
  EXPECT_EQ(image.height, 120);
}

}  // namespace
}  // namespace packhorse

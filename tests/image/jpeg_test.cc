#include "image/jpeg.h"

#include <cmath>
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "image/jpeg_samples.h"

namespace packhorse {
namespace {

/// The part of the decoded image inside a region.
DecodedImage cut(const DecodedImage& whole, const Region& region) {
  DecodedImage part{region.width, region.height, {}};
  for (int y = 0; y < region.height; ++y) {
    const auto row = whole.pixels.begin() + 3 * (int64_t{region.y + y} * whole.width + region.x);
    part.pixels.insert(part.pixels.end(), row, row + 3 * int64_t{region.width});
  }
  return part;
}

double mean_difference(const DecodedImage& a, const DecodedImage& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  return sum / static_cast<double>(a.pixels.size());
}

TEST(Jpeg, InfoGivesSizeAndComponents) {
  const auto grey = make_jpeg({.width = 31, .height = 17, .kind = JpegKind::grey});
  EXPECT_EQ(read_jpeg_info(grey).width, 31);
  EXPECT_EQ(read_jpeg_info(grey).height, 17);
  EXPECT_EQ(read_jpeg_info(grey).components, 1);
  const auto colour = make_jpeg({.width = 31, .height = 17, .progressive = true});
  EXPECT_EQ(read_jpeg_info(colour).components, 3);
  EXPECT_EQ(read_jpeg_info(make_jpeg({.kind = JpegKind::cmyk})).components, 4);
}

TEST(Jpeg, EncodeThenDecodeKeepsTheImage) {
  const DecodedImage src = smooth_image(97, 53);
  DecodedImage back;
  decode_jpeg(encode_jpeg(src, 95), back);
  ASSERT_EQ(back.width, 97);
  ASSERT_EQ(back.height, 53);
  // At quality 95 the luma steps are at most 10 of 255 and most are 2 or 3: the mean error is far below 2.
  EXPECT_LT(mean_difference(src, back), 2.0);
  EXPECT_EQ(encode_jpeg(src, 95), encode_jpeg(src, 95));
  EXPECT_LT(encode_jpeg(src, 50).size(), encode_jpeg(src, 95).size());
  EXPECT_THROW(encode_jpeg(DecodedImage{}, 95), Error);
  EXPECT_EQ(read_jpeg_info(encode_grey_jpeg(std::vector<uint8_t>(12, 7), 4, 3, 90)).components, 1);
  EXPECT_THROW(encode_grey_jpeg(std::vector<uint8_t>(11, 7), 4, 3, 90), Error);
}

TEST(Jpeg, NoiseAtTheHighestQualityFitsTheEncodersBound) {
  DecodedImage noise{67, 45, std::vector<uint8_t>(67 * 45 * 3)};
  RandomStream random(1, RandomUse::test, 0, 0);
  for (uint8_t& value : noise.pixels) value = random.next() & 1 ? 255 : 0;
  DecodedImage back;
  decode_jpeg(encode_jpeg(noise, 100), back);
  EXPECT_EQ(back.width, 67);
}

TEST(Jpeg, GreyIsCopiedToThreeChannels) {
  DecodedImage image;
  decode_jpeg(make_jpeg({.width = 24, .height = 16, .kind = JpegKind::grey}), image);
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    ASSERT_EQ(image.pixels[i], image.pixels[i + 1]);
    ASSERT_EQ(image.pixels[i], image.pixels[i + 2]);
  }
}

TEST(Jpeg, CmykYcckAndPlainRgbGiveTheSameImage) {
  DecodedImage colour, other;
  decode_jpeg(make_jpeg({.width = 64, .height = 48}), colour);
  for (const JpegKind kind : {JpegKind::cmyk, JpegKind::ycck, JpegKind::rgb, JpegKind::cmyk_plain}) {
    decode_jpeg(make_jpeg({.width = 64, .height = 48, .kind = kind}), other);
    EXPECT_LT(mean_difference(colour, other), 3.0) << "kind " << static_cast<int>(kind);
  }
}

TEST(Jpeg, RegionEqualsWholeDecode) {
  RandomStream random(7, RandomUse::test, 1, 0);
  DecodedImage whole, part;
  for (const JpegKind kind : {JpegKind::colour, JpegKind::grey, JpegKind::cmyk, JpegKind::rgb}) {
    for (const Sampling sampling : {Sampling{2, 2}, Sampling{2, 1}, Sampling{1, 2}, Sampling{1, 1}, Sampling{4, 1}}) {
      for (const bool progressive : {false, true}) {
        const auto bytes = make_jpeg({.width = 203,
                                      .height = 149,
                                      .kind = kind,
                                      .sampling = sampling,
                                      .progressive = progressive,
                                      .noisy = true});
        decode_jpeg(bytes, whole);
        for (int i = 0; i < 50; ++i) {
          Region region;
          region.x = static_cast<int>(random.below(whole.width));
          region.y = static_cast<int>(random.below(whole.height));
          region.width = 1 + static_cast<int>(random.below(whole.width - region.x));
          region.height = 1 + static_cast<int>(random.below(whole.height - region.y));
          decode_jpeg_region(bytes, region, part);
          ASSERT_EQ(part.width, region.width);
          ASSERT_EQ(part.height, region.height);
          ASSERT_TRUE(part.pixels == cut(whole, region).pixels)
              << "kind " << static_cast<int>(kind) << ", sampling " << sampling.h << "x" << sampling.v
              << ", progressive " << progressive << ", region " << region.x << "," << region.y << " " << region.width
              << "x" << region.height;
        }
      }
    }
  }
}

TEST(Jpeg, RegionOutsideOfTheImageIsRefused) {
  const auto bytes = make_jpeg({.width = 32, .height = 32});
  DecodedImage image;
  EXPECT_THROW(decode_jpeg_region(bytes, {0, 0, 33, 1}, image), Error);
  EXPECT_THROW(decode_jpeg_region(bytes, {-1, 0, 2, 2}, image), Error);
  EXPECT_THROW(decode_jpeg_region(bytes, {31, 31, 1, 2}, image), Error);
  EXPECT_THROW(decode_jpeg_region(bytes, {0, 0, 0, 1}, image), Error);
  decode_jpeg_region(bytes, {31, 31, 1, 1}, image);  // the codec still works
}

TEST(Jpeg, ATruncatedFileIsDamageNeverACrash) {
  for (const bool progressive : {false, true}) {
    const auto bytes = make_jpeg({.width = 120, .height = 90, .progressive = progressive, .noisy = true});
    DecodedImage image;
    decode_jpeg(bytes, image);
    check_jpeg(bytes);
    for (size_t length = 0; length < bytes.size(); length += 64) {
      const auto part = std::span(bytes).first(length);
      EXPECT_THROW(decode_jpeg(part, image), DamageError) << length;
      EXPECT_THROW(check_jpeg(part), DamageError) << length;
    }
    EXPECT_THROW(decode_jpeg(std::span(bytes).first(bytes.size() - 1), image), DamageError);
    EXPECT_THROW(check_jpeg(std::span(bytes).first(bytes.size() - 1)), DamageError);
  }
}

TEST(Jpeg, OtherBytesAreDamage) {
  const std::string text = "<html><body>This photo is no longer available</body></html>";
  DecodedImage image;
  EXPECT_THROW(decode_jpeg(std::as_bytes(std::span(text)), image), DamageError);
  EXPECT_THROW(read_jpeg_info({}), DamageError);
}

TEST(Jpeg, HugeSizesAreRefusedBeforeAnythingIsAllocated) {
  auto bytes = make_jpeg({.width = 16, .height = 16});
  size_t frame = 0;
  while (!(bytes[frame] == std::byte{0xff} && bytes[frame + 1] == std::byte{0xc0})) ++frame;
  for (const size_t at : {frame + 5, frame + 7}) {  // height, then width
    auto huge = bytes;
    huge[at] = huge[at + 1] = std::byte{0xf0};
    EXPECT_THROW(read_jpeg_info(huge), DamageError);
    DecodedImage image;
    EXPECT_THROW(decode_jpeg(huge, image), DamageError);
    EXPECT_TRUE(image.pixels.empty());
  }
}

TEST(Jpeg, ProgressiveWithTooManyScansIsRefused) {
  const auto bytes = make_jpeg({.width = 64, .height = 64, .a_scan_a_coefficient = true});
  DecodedImage image;
  for (const bool whole : {true, false}) {
    try {
      whole ? decode_jpeg(bytes, image) : void(check_jpeg(bytes));
      FAIL() << "not refused";
    } catch (const DamageError& error) {
      EXPECT_NE(std::string(error.what()).find("More than 100 scans"), std::string::npos) << error.what();
    }
  }
}

TEST(Jpeg, CheckAgreesWithDecodeOnDamagedBytes) {
  const auto bytes = make_jpeg({.width = 96, .height = 64, .noisy = true});
  RandomStream random(3, RandomUse::test, 2, 0);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    auto damaged = bytes;
    damaged[random.below(static_cast<uint32_t>(bytes.size()))] ^=
        std::byte{static_cast<uint8_t>(1u << random.below(8))};
    DecodedImage image;
    bool decodes = true, checks = true;
    try {
      decode_jpeg(damaged, image);
    } catch (const DamageError&) {
      decodes = false;
    }
    try {
      check_jpeg(damaged);
    } catch (const DamageError&) {
      checks = false;
    }
    EXPECT_EQ(decodes, checks) << "flip " << i;
    refused += !decodes;
  }
  EXPECT_GT(refused, 0);
}

TEST(Jpeg, RandomBytesNeverCrash) {
  const auto good = make_jpeg({.width = 48, .height = 40, .noisy = true});
  DecodedImage image;
  for (uint64_t i = 0; i < 600; ++i) {
    RandomStream random(11, RandomUse::test, 3, i);
    auto bytes = good;
    const uint32_t edits = 1 + random.below(20);
    for (uint32_t k = 0; k < edits; ++k) {
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<std::byte>(random.next() & 0xff);
    }
    try {
      read_jpeg_info(bytes);
      decode_jpeg(bytes, image);
    } catch (const Error&) {
      continue;  // most are refused
    }
    EXPECT_EQ(image.pixels.size(), size_t{3} * image.width * image.height);
  }
}

}  // namespace
}  // namespace packhorse

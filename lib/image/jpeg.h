// JPEG through libjpeg-turbo. The only room that sees its headers.
//
// Pixels are 8-bit RGB, rows top to bottom, 3 bytes a pixel without gaps. Codecs and their row buffers are kept per
// thread, so an image costs no set-up. The codec's warnings (data cut short or corrupt) are errors here: pixels that
// it would have made up never get into a shard or a batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace packhorse {

/// A decoded image; `pixels` holds width * height * 3 bytes.
struct DecodedImage {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

/// What a JPEG's header says.
struct JpegInfo {
  int width = 0, height = 0;
  int components = 0;  ///< 1 grey, 3 colour, 4 CMYK or YCCK
  bool progressive = false;
};

/// A rectangle of pixels.
struct Region {
  int x = 0, y = 0, width = 0, height = 0;
};

/// Images larger than this on a side, or than kMaxPixels, are refused: they are a mistake or an attack.
inline constexpr int kMaxSide = 32768;
inline constexpr int64_t kMaxPixels = int64_t{1} << 28;
/// A progressive image has some ten scans; a small file with thousands of them would decode for minutes.
inline constexpr int kMaxScans = 100;

/// Throws DamageError unless the bytes begin as a JPEG with a sane header.
JpegInfo read_jpeg_info(std::span<const std::byte> bytes);

/// A side of an image scaled by eighths/8.
constexpr int scaled_side(int side, int eighths) { return static_cast<int>((int64_t{side} * eighths + 7) / 8); }

/// Decodes a whole JPEG to RGB (grey is spread, CMYK and YCCK are converted), scaled by eighths/8 in the DCT (1 to 8;
/// sizes round up). Throws DamageError, with the codec's words, for anything that is not whole and sound, warnings
/// included.
void decode_jpeg(std::span<const std::byte> bytes, DecodedImage& dst, int eighths = 8);

/// As decode_jpeg, but only the rows and columns that `region` (in pixels of the scaled image) needs; dst becomes
/// that region, exactly the pixels that a whole decode would give there. Damage below the region is not seen.
void decode_jpeg_region(std::span<const std::byte> bytes, const Region& region, int eighths, DecodedImage& dst);

/// Throws where decode_jpeg would, at a fraction of its cost: every bit of the entropy-coded data is decoded, but no
/// pixel is made. Returns the header.
JpegInfo check_jpeg(std::span<const std::byte> bytes);

/// Encodes RGB as baseline JPEG at the given quality (1 to 100), chroma 4:2:0, with tables optimised for nothing:
/// speed.
std::vector<std::byte> encode_jpeg(const DecodedImage& src, int quality);

/// The same for one channel: width * height bytes.
std::vector<std::byte> encode_grey_jpeg(std::span<const uint8_t> pixels, int width, int height, int quality);

}  // namespace packhorse

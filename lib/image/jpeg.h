// JPEG through libjpeg-turbo; no code outside of lib/image includes its headers.
//
// Each thread keeps its codecs and row buffers, so an image needs no set-up. The codec's warnings (truncated or corrupt
// data) are errors here: pixels that the codec would invent never get into a shard or a batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "image/decoded_image.h"

namespace packhorse {

/// What a JPEG's header says.
struct JpegInfo {
  int width = 0, height = 0;
  int components = 0;  ///< 1 grey, 3 colour, 4 CMYK or YCCK
};

/// A progressive image has about ten scans; a small file with thousands of them would take minutes to decode.
inline constexpr int kMaxScans = 100;

/// Reads the header; throws DamageError if it is not the header of a JPEG that we can read.
JpegInfo read_jpeg_info(std::span<const std::byte> bytes);

/// Decodes a whole JPEG to RGB (grey is copied to all three channels, CMYK and YCCK are converted). Throws DamageError
/// with the codec's message for damaged or truncated data; the codec's warnings count as damage.
void decode_jpeg(std::span<const std::byte> bytes, DecodedImage& dst);

/// As decode_jpeg, but decodes only the rows and columns that `region` needs; dst becomes that region, with exactly the
/// pixels that decode_jpeg gives there. Damage below the region is not detected.
void decode_jpeg_region(std::span<const std::byte> bytes, const Region& region, DecodedImage& dst);

/// Throws if decode_jpeg would throw, at a fraction of its cost: it decodes every bit of the entropy-coded data, but
/// makes no full-size pixels. Returns the header.
JpegInfo check_jpeg(std::span<const std::byte> bytes);

/// Encodes RGB as baseline JPEG at the given quality (1 to 100), chroma 4:2:0, with the standard Huffman tables, which
/// is fast.
std::vector<std::byte> encode_jpeg(const DecodedImage& src, int quality);

/// The same for one grey channel: width * height bytes.
std::vector<std::byte> encode_grey_jpeg(std::span<const uint8_t> pixels, int width, int height, int quality);

}  // namespace packhorse

// PNG through libpng; no code outside of lib/image includes its headers.
//
// Rule: samples are taken as they are stored, and nothing applies a gamma. 16 bits are divided by 257 and rounded, so
// that 65,535 becomes 255; fewer than 8 bits are stretched to 0..255; then what is transparent is blended with white.
// Chunks about colour (gAMA, sRGB, cHRM, iCCP) are ignored, as a JPEG's profile is: the same samples are the same
// pixels in every container.
#pragma once

#include <cstddef>
#include <span>

#include "image/decoded_image.h"

namespace packhorse {

/// Reads the header; throws DamageError if it is not the header of a PNG that we can read.
Size read_png_size(std::span<const std::byte> bytes);

/// Decodes a whole PNG of any depth and colour type to RGB. Throws DamageError with libpng's message for damaged or
/// truncated data.
void decode_png(std::span<const std::byte> bytes, DecodedImage& dst);

}  // namespace packhorse

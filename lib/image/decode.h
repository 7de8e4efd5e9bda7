// Images of any format: which format the bytes have, and their pixels if we can read that format.
//
// JPEG and PNG can be read. PNG may be grey, palette, 16 bits or interlaced; transparency is blended with white. Other
// formats are refused by name, so that the line in the quarantine says what was found.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "image/jpeg.h"

namespace packhorse {

/// "JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "HTML page", ... by the first bytes; "unknown" if none matches.
std::string image_format(std::span<const std::byte> bytes);

/// Decodes all of a JPEG or PNG; throws DamageError for any other format and for a damaged image.
void decode_image(std::span<const std::byte> bytes, DecodedImage& dst);

/// As decode_image, for pixels that will be shrunk to a short edge of `short_edge` pixels: a JPEG may be decoded at a
/// smaller scale, but never smaller than that.
void decode_image_for(std::span<const std::byte> bytes, int short_edge, DecodedImage& dst);

}  // namespace packhorse

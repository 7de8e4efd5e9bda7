// Images of whatever format: what the bytes are, and their pixels where the format is one we read.
//
// JPEG and PNG are read. PNG may be grey, palette, 16 bits or interlaced; transparency is laid over white. Other
// formats are refused by name, so that a quarantine's line says what was found.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "image/jpeg.h"

namespace packhorse {

/// "JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "HTML page", ... by the first bytes; "unknown" where none fits.
std::string image_format(std::span<const std::byte> bytes);

/// Decodes a JPEG or a PNG whole; throws DamageError for anything else, and for what is not sound.
void decode_image(std::span<const std::byte> bytes, DecodedImage& dst);

/// As decode_image, for making an image whose short edge has `short_edge` pixels: a JPEG may come back scaled down,
/// but never below that.
void decode_image_for(std::span<const std::byte> bytes, int short_edge, DecodedImage& dst);

}  // namespace packhorse

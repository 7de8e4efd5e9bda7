// Images of any format: which format the bytes have, and their pixels if we can read that format.
//
// JPEG, PNG and WebP can be read. Other formats are refused by name, so that the line in the quarantine says what was
// found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "image/resample.h"

namespace packhorse {

/// "JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "HTML page", ... by the first bytes; "unknown" if none matches.
std::string image_format(std::span<const std::byte> bytes);

/// Reads the header; throws DamageError for any other format than these, and for a header that we cannot read.
Size read_image_size(std::span<const std::byte> bytes);

/// Decodes all of an image; throws DamageError for any other format and for a damaged image.
void decode_image(std::span<const std::byte> bytes, DecodedImage& dst);

/// Decodes what `crop` needs, and resamples it to size x size RGB at `dst`: exactly what resample_crop() gives for the
/// whole decoded image. `image` is what read_image_size() gives; `scratch` is a buffer to reuse between calls. Throws
/// as decode_image() does; damage below the crop is not detected in a JPEG.
void decode_crop(std::span<const std::byte> bytes, Size image, const Crop& crop, int size, DecodedImage& scratch,
                 uint8_t* dst);

}  // namespace packhorse

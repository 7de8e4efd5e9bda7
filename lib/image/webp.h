// WebP through libwebp; no code outside of lib/image includes its headers.
//
// Rule: the samples are the library's RGB; what is transparent is blended with white. An ICC profile is ignored, as a
// JPEG's is. An animation has no one image, and is refused.
#pragma once

#include <cstddef>
#include <span>

#include "image/decoded_image.h"

namespace packhorse {

/// Reads the header; throws DamageError if it is not the header of a WebP that we can read.
Size read_webp_size(std::span<const std::byte> bytes);

/// Decodes a whole WebP, lossy or lossless, to RGB. Throws DamageError for damaged or truncated data.
void decode_webp(std::span<const std::byte> bytes, DecodedImage& dst);

}  // namespace packhorse

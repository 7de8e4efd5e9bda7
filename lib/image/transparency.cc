#include "image/transparency.h"

namespace packhorse {

// In the same buffer: a pixel is written where it or an earlier one was.
void blend_with_white(DecodedImage& image) {
  const size_t count = size_t{1} * static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
  const uint8_t* src = image.pixels.data();
  uint8_t* dst = image.pixels.data();
  for (size_t i = 0; i < count; ++i, src += 4, dst += 3) {
    const unsigned alpha = src[3];
    for (int c = 0; c < 3; ++c) dst[c] = static_cast<uint8_t>((src[c] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
  image.pixels.resize(3 * count);
}

}  // namespace packhorse

// WebPs made with libwebp for the tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <webp/encode.h>

namespace packhorse {

/// `channels`: 3 (RGB) or 4 (RGBA). `quality`: 0 to 100, or -1: lossless.
inline std::vector<std::byte> make_webp(int width, int height, int channels, const std::vector<uint8_t>& samples,
                                        float quality = -1) {
  if (samples.size() != static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels))
    throw std::logic_error("a WebP sample has the wrong length");
  uint8_t* made = nullptr;
  const int stride = width * channels;
  size_t size = 0;
  if (quality < 0)
    size =
        (channels == 4 ? WebPEncodeLosslessRGBA : WebPEncodeLosslessRGB)(samples.data(), width, height, stride, &made);
  else
    size = (channels == 4 ? WebPEncodeRGBA : WebPEncodeRGB)(samples.data(), width, height, stride, quality, &made);
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), made, size);
  WebPFree(made);
  return bytes;
}

}  // namespace packhorse

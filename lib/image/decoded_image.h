// Decoded images, and rectangles of them.
//
// Pixels are 8-bit RGB, rows from top to bottom, 3 bytes per pixel without gaps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace packhorse {

/// Width and height in pixels.
struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

/// A decoded image; `pixels` holds width * height * 3 bytes.
struct DecodedImage {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

/// A rectangle of pixels.
struct Region {
  int x = 0, y = 0, width = 0, height = 0;
};

/// Images larger than this on a side, or than kMaxPixels, are refused: they are a mistake or an attack.
inline constexpr int kMaxSide = 32768;
inline constexpr int64_t kMaxPixels = int64_t{1} << 28;

inline bool too_large(int64_t width, int64_t height) {
  return width > kMaxSide || height > kMaxSide || width * height > kMaxPixels;
}

/// "an image of 70000 x 2 pixels is too large", for the error that refuses it.
inline std::string too_large_text(int64_t width, int64_t height) {
  return "an image of " + std::to_string(width) + " x " + std::to_string(height) + " pixels is too large";
}

}  // namespace packhorse

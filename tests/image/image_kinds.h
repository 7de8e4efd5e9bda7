// Three kinds of images that filters treat most differently: smooth as a photograph's blurred background, strokes as in
// letters and line art, and noise.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/philox.h"
#include "image/decoded_image.h"

namespace packhorse {

enum class ImageKind { smooth, strokes, noise };
inline constexpr ImageKind kImageKinds[] = {ImageKind::smooth, ImageKind::strokes, ImageKind::noise};

inline const char* name_of(ImageKind kind) {
  return kind == ImageKind::smooth ? "smooth" : kind == ImageKind::strokes ? "strokes" : "noise";
}

inline DecodedImage image_of(ImageKind kind, int width, int height) {
  DecodedImage image{width, height, {}};
  RandomStream random(17, RandomUse::test, 0, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double wave = 60 * std::sin(x * 0.031 + c) * std::cos(y * 0.023) + 40 * std::sin((x + 2 * y) * 0.011 + c);
        const bool ink = (x / 3 * 7 + y / 11 * 5) % 4 == 0 || y % 17 < 2 || (x + y) % 23 < 2;
        image.pixels.push_back(kind == ImageKind::smooth    ? static_cast<uint8_t>(128 + wave)
                               : kind == ImageKind::strokes ? static_cast<uint8_t>(ink ? 0 : 255)
                                                            : static_cast<uint8_t>(random.next()));
      }
    }
  }
  return image;
}

}  // namespace packhorse

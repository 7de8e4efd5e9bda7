// Images made smaller or larger, with a filter as wide as the step between pixels: no aliasing.
//
// The triangle filter, stretched by the scale where the image shrinks, in whole-number arithmetic: the same bytes on
// every machine.
#pragma once

#include "image/jpeg.h"

namespace packhorse {

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

/// The size at which the shorter edge has `edge` pixels and the shape stays; an image already as small keeps its own.
Size shrunk_to_short_edge(Size size, int edge);

/// Makes `dst` of the given size from all of `src` (which must not be the same object).
void resample(const DecodedImage& src, Size size, DecodedImage& dst);

}  // namespace packhorse

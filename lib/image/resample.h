// Makes decoded images smaller or larger, with a filter as wide as the step between pixels: no aliasing.
//
// The triangle filter, stretched by the scale if the image shrinks, in integer arithmetic: the same bytes on every
// machine.
#pragma once

#include "image/jpeg.h"

namespace packhorse {

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

/// The size with a short edge of `edge` pixels and the same aspect ratio; a smaller image keeps its size.
Size shrunk_to_short_edge(Size size, int edge);

/// Resamples all of `src` to `dst` at the given size; they must not be the same object.
void resample(const DecodedImage& src, Size size, DecodedImage& dst);

}  // namespace packhorse

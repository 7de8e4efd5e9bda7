// What is transparent lies on white.
#pragma once

#include "image/decoded_image.h"

namespace packhorse {

/// `image.pixels` holds RGBA, and then RGB.
void blend_with_white(DecodedImage& image);

}  // namespace packhorse

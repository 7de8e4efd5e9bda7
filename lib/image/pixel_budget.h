// How many pixels may be decoded at the same time. A PNG of a few kilobytes can be a page of 16,000 x 16,000 pixels:
// one of them is decoded, but not one on each thread.
#pragma once

#include <cstdint>

#include "image/decoded_image.h"

namespace packhorse {

/// From here on an image is large: its buffer is not kept for the next one.
inline constexpr int64_t kLargeImage = int64_t{1} << 26;

/// During its lifetime the image's pixels count. Waits until they fit; an image that is larger than the whole budget
/// waits until it is alone. A thread has one at a time.
class PixelPermit {
 public:
  explicit PixelPermit(Size image);
  ~PixelPermit();
  PixelPermit(const PixelPermit&) = delete;
  PixelPermit& operator=(const PixelPermit&) = delete;

 private:
  int64_t pixels_;
};

/// Frees the buffer of a large image.
void drop_if_large(DecodedImage& image);

}  // namespace packhorse

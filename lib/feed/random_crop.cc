// Short edge scaled to `resize`, edges repeated for `pad` pixels, then a random crop of size x size pixels.
#include <algorithm>
#include <cmath>

#include "feed/augment.h"

namespace packhorse {
namespace {

Crop make(const AugmentOptions& options, int width, int height, RandomStream& random) {
  const double scale = static_cast<double>(std::min(width, height)) / options.resize;
  // Offsets are whole pixels of the scaled image, so that an image that already has the right size is copied, not
  // resampled.
  const auto offset_count = [&](int length) {
    return static_cast<uint32_t>(std::lround(length / scale) + 2 * options.pad - options.size + 1);
  };
  const double x = static_cast<double>(random.below(offset_count(width))) - options.pad;
  const double y = static_cast<double>(random.below(offset_count(height))) - options.pad;
  return {x * scale, y * scale, options.size * scale, options.size * scale, false};
}

}  // namespace

const CropMode kRandomCrop = {"random-crop", make};

}  // namespace packhorse

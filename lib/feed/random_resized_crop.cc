// A random share of the image's area with a random aspect ratio, scaled to the input size (Szegedy et al., 2014).
#include <algorithm>
#include <cmath>

#include "feed/augment.h"

namespace packhorse {
namespace {

Crop make(const AugmentOptions& options, int width, int height, RandomStream& random) {
  constexpr int kTries = 10;
  const double area = static_cast<double>(width) * height;
  const auto log_aspect = static_cast<float>(std::log(options.max_aspect));
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double part = area * random.uniform(static_cast<float>(options.min_area), 1.0f);
    const double aspect = std::exp(random.uniform(-log_aspect, log_aspect));
    const auto w = static_cast<int>(std::lround(std::sqrt(part * aspect)));
    const auto h = static_cast<int>(std::lround(std::sqrt(part / aspect)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto x = random.below(static_cast<uint32_t>(width - w + 1));
    const auto y = random.below(static_cast<uint32_t>(height - h + 1));
    return {static_cast<double>(x), static_cast<double>(y), static_cast<double>(w), static_cast<double>(h), false};
  }
  // No try fitted, as with a very long image: the centre, as long as the largest aspect ratio allows.
  const double w = std::min<double>(width, height * options.max_aspect);
  const double h = std::min<double>(height, width * options.max_aspect);
  return {std::floor((width - w) / 2), std::floor((height - h) / 2), w, h, false};
}

}  // namespace

const CropMode kRandomResizedCrop = {"random-resized-crop", make};

}  // namespace packhorse

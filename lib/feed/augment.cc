#include "feed/augment.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace {

constexpr std::array kCropModes = {&kRandomResizedCrop, &kRandomCrop};

}  // namespace

std::vector<std::string> crop_mode_names() {
  std::vector<std::string> names;
  names.reserve(kCropModes.size());
  for (const CropMode* mode : kCropModes) names.emplace_back(mode->name);
  return names;
}

const CropMode& crop_mode_from(const std::string& name) {
  for (const CropMode* mode : kCropModes) {
    if (name == mode->name) return *mode;
  }
  throw UsageError({"unknown crop mode '" + name + "'", "crop", "use one of " + joined(crop_mode_names())});
}

Crop evaluation_crop(const AugmentOptions& options, int width, int height) {
  const double scale = static_cast<double>(std::min(width, height)) / options.resize;
  const double side = options.size * scale;
  return {(width - side) / 2, (height - side) / 2, side, side, false};
}

Crop training_crop(const AugmentOptions& options, int width, int height, uint64_t epoch, uint64_t id) {
  RandomStream random(options.seed, RandomUse::augment, epoch, id);
  const bool flip = options.flip > 0 && random.uniform() >= 1 - options.flip;
  Crop crop = options.crop->make(options, width, height, random);
  crop.flip = flip;
  return crop;
}

}  // namespace packhorse

// From the images found to lists: which images are for validation, and the order of each list.
//
// Rule: both depend only on the seed and the sorted images. The shuffle is over the whole list, so any window of it is
// a random sample of the whole.
#pragma once

#include <cstdint>
#include <vector>

#include "manifest/image_list.h"

namespace packhorse {

/// How much of each class goes to validation: `per_class` images if that is > 0, else the fraction.
struct ValidationSplit {
  double fraction = 0;
  uint64_t per_class = 0;
  bool wanted() const { return fraction > 0 || per_class > 0; }
};

struct Lists {
  std::vector<ImageEntry> train, validation;
  uint64_t classes_spared = 0;  ///< classes that gave fewer than requested, to keep one image for training
};

/// Moves randomly chosen images of each class to validation. `images` are sorted by label. A class of n images gives
/// floor(f n) or one more, at random, for a fraction f, so that f holds for the whole list.
Lists split_images(std::vector<ImageEntry> images, const ValidationSplit& split, uint64_t seed);

/// Shuffles a list and numbers its images from 0. `which` distinguishes lists that share a seed.
void shuffle_images(std::vector<ImageEntry>& images, uint64_t seed, uint64_t which);

}  // namespace packhorse

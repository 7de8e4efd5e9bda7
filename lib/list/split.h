// From what was found to lists: which images are for validation, and in which order all of them stand.
//
// Rule: both are functions of the seed and of the sorted images, and of nothing else. The shuffle is over the whole
// list: any window of it looks like the whole.
#pragma once

#include <cstdint>
#include <vector>

#include "manifest/image_list.h"

namespace packhorse {

/// How much of each class goes to validation: `per_class` images where that is > 0, else the fraction.
struct ValidationSplit {
  double fraction = 0;
  uint64_t per_class = 0;
  bool wanted() const { return fraction > 0 || per_class > 0; }
};

struct Lists {
  std::vector<ImageEntry> train, validation;
  uint64_t classes_spared = 0;  ///< classes that gave fewer than asked for, so as to keep one image for training
};

/// Takes the validation images out of each class, chosen at random. `images` are sorted by label. Of a class's n
/// images a fraction f gives floor(f n) or one more, at random, so that f holds for the whole.
Lists split_images(std::vector<ImageEntry> images, const ValidationSplit& split, uint64_t seed);

/// Puts a list into its shuffled order and numbers it from 0. `which` tells lists of one seed apart.
void shuffle_images(std::vector<ImageEntry>& images, uint64_t seed, uint64_t which);

}  // namespace packhorse

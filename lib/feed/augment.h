// Chooses the crop of an image that the network gets. decode_crop() (image/decode.h) makes its pixels.
//
// Rule: random numbers are counter-based, not drawn from a sequence. A training crop is a function of (seed, epoch,
// image id, image size) alone: the same on any thread, in any batch slot and for any number of ranks, and different in
// the next epoch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/philox.h"
#include "image/resample.h"

namespace packhorse {

struct AugmentOptions;

/// A way to choose training crops. To add one, write its file (random_crop.cc is an example), declare it below, and add
/// a row to the table in augment.cc.
struct CropMode {
  const char* name;  ///< value of --crop
  Crop (*make)(const AugmentOptions& options, int width, int height, RandomStream& random);
};
extern const CropMode kRandomResizedCrop, kRandomCrop;

std::vector<std::string> crop_mode_names();
/// Throws a UsageError for an unknown name.
const CropMode& crop_mode_from(const std::string& name);

struct AugmentOptions {
  int size = 224;  ///< width and height of the network's input, in pixels
  const CropMode* crop = &kRandomResizedCrop;
  int resize = 256;            ///< short edge of the image before a crop of fixed size, in pixels, >= size
  double min_area = 0.08;      ///< random resized crop: smallest share of the image's area
  double max_aspect = 4. / 3;  ///< random resized crop: its aspect ratio is in [1 / max_aspect, max_aspect]
  int pad = 0;                 ///< random crop: pixels by which the edges are repeated
  double flip = 0.5;           ///< probability that an image is flipped left to right
  uint64_t seed = 0;
};

Crop training_crop(const AugmentOptions& options, int width, int height, uint64_t epoch, uint64_t id);
/// Short edge scaled to `resize`, then the centre crop.
Crop evaluation_crop(const AugmentOptions& options, int width, int height);

}  // namespace packhorse

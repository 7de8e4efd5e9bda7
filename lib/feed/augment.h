// Which part of an image the network sees, and how it gets there.
//
// Rule: randomness is addressed. A training crop is a function of (seed, epoch, the image's id, its size) alone: the
// same on any thread, in any batch slot and for any number of ranks, and another one in the next epoch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/philox.h"
#include "image/jpeg.h"

namespace packhorse {

struct AugmentOptions;

/// A rectangle of the image, in its pixels; it may reach beyond the edges (which are then repeated).
struct Crop {
  double x = 0, y = 0, width = 0, height = 0;
  bool flip = false;  ///< left and right exchanged
};

/// A way to choose training crops. To add one, write its file (random_crop.cc is an example), declare it below, and add
/// a row to the table in augment.cc.
struct CropMode {
  const char* name;  ///< for --crop
  Crop (*make)(const AugmentOptions& options, int width, int height, RandomStream& random);
};
extern const CropMode kRandomResizedCrop, kRandomCrop;

std::vector<std::string> crop_mode_names();
/// Throws a UsageError for an unknown name.
const CropMode& crop_mode_from(const std::string& name);

struct AugmentOptions {
  int size = 224;  ///< pixels on a side of what the network gets
  const CropMode* crop = &kRandomResizedCrop;
  int resize = 256;            ///< short edge before a crop of fixed size, >= size
  double min_area = 0.08;      ///< smallest share of the area that a random resized crop takes
  double max_aspect = 4. / 3;  ///< its aspect ratio is in [1 / max_aspect, max_aspect]
  int pad = 0;
  double flip = 0.5;  ///< probability that an image is flipped left to right
  uint64_t seed = 0;
};

Crop training_crop(const AugmentOptions& options, int width, int height, uint64_t epoch, uint64_t id);
/// Short edge to `resize`, then the centre.
Crop evaluation_crop(const AugmentOptions& options, int width, int height);

/// Scales `crop` of `src` to size x size RGB at `dst`, by a triangle filter as wide as the reduction (bilinear where
/// the crop is enlarged). A crop of just that size on whole pixels is copied.
void resample_crop(const DecodedImage& src, const Crop& crop, int size, uint8_t* dst);

/// Decodes only what `crop` needs of a JPEG, reduced in the DCT where the crop is at least twice too large, and scales
/// it into `dst` (size, size, 3). `scratch` is kept between calls.
void decode_crop(std::span<const std::byte> jpeg, const JpegInfo& info, const Crop& crop, int size,
                 DecodedImage& scratch, uint8_t* dst);

}  // namespace packhorse

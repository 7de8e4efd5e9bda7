// Which part of a picture the network sees, and how it gets there.
//
// Rule: randomness is addressed. A training crop is a function of (seed, epoch, the image's id, its size) alone: the
// same on any thread, in any batch slot and for any number of ranks, and another one in the next epoch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "image/jpeg.h"

namespace packhorse {

enum class CropMode {
  random_resized,  ///< a random part of the area with a random aspect ratio, scaled to size (Szegedy et al., 2014)
  random_crop      ///< short edge scaled to `resize`, edges repeated for `pad` pixels, then a size x size piece
};

/// "random-resized-crop", "random-crop".
std::vector<std::string> crop_mode_names();
CropMode crop_mode_from(const std::string& name);

struct AugmentOptions {
  int size = 224;  ///< pixels on a side of what the network sees
  CropMode crop = CropMode::random_resized;
  int resize = 256;            ///< short edge before a crop of fixed size, >= size
  double min_area = 0.08;      ///< smallest part of the area a random_resized crop takes
  double max_aspect = 4. / 3;  ///< its aspect ratio lies in [1 / max_aspect, max_aspect]
  int pad = 0;
  bool mirror = true;  ///< left and right exchanged for every other picture
  uint64_t seed = 0;
};

/// A rectangle of the picture, in its pixels; it may reach beyond the edges (which are then repeated).
struct Crop {
  double x = 0, y = 0, width = 0, height = 0;
  bool mirror = false;
};

Crop training_crop(const AugmentOptions& options, int width, int height, uint64_t epoch, uint64_t id);
/// Short edge to `resize`, then the centre.
Crop evaluation_crop(const AugmentOptions& options, int width, int height);

/// Scales `crop` of `src` to size x size RGB at `dst`, by a triangle filter as wide as the reduction (bilinear where
/// the crop is enlarged). A crop of just that size on whole pixels is copied.
void resample_crop(const Image& src, const Crop& crop, int size, uint8_t* dst);

/// Decodes only what `crop` needs of a JPEG, reduced in the DCT where the crop is at least twice too large, and scales
/// it into `dst` (size, size, 3). `scratch` is kept between calls.
void decode_crop(std::span<const std::byte> jpeg, const JpegInfo& info, const Crop& crop, int size, Image& scratch,
                 uint8_t* dst);

}  // namespace packhorse

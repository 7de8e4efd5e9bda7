// Makes images and parts of them smaller or larger. This is the one definition of how: for training, validation,
// evaluation, prediction and packing, and for every container of an image.
//
// Rule (kResampling): an image is decoded at its full size. A pixel of the result is then the mean of the samples
// around its centre, weighted by a triangle in each direction whose half-width is the step between pixels, or one
// sample if the step is smaller: no aliasing, and bilinear if an image is enlarged. Beyond the edges, the outermost
// samples are repeated. The arithmetic is in integers: the same bytes on every machine. A JPEG's own reduced sizes are
// not used, because they are another filter: strokes come out up to 21 of 255 levels different where the triangle still
// has a factor of 2 to go, and 12 levels at a factor of 8.
#pragma once

#include <cstdint>
#include <vector>

#include "image/decoded_image.h"

namespace packhorse {

/// The name of the rule above, as manifests and checkpoints state it. Whatever changes what a network sees gives it
/// another number.
inline constexpr const char* kResampling = "triangle/1";

/// A rectangle of the image, in its pixels. It may extend beyond the edges, which are then repeated.
struct Crop {
  double x = 0, y = 0, width = 0, height = 0;
  bool flip = false;  ///< flipped left to right
};

/// The size with a short edge of `edge` pixels and the same aspect ratio; a smaller image keeps its size.
Size shrunk_to_short_edge(Size size, int edge);

/// For each result sample along one axis: the source samples that it is made of, and their weights.
struct Taps {
  struct Row {
    int first = 0, count = 0;  ///< source samples
    size_t at = 0;             ///< of its first weight
  };
  std::vector<Row> rows;         ///< one for each result sample
  std::vector<int16_t> weights;  ///< those of a row sum to 2^14
  int begin = 0, end = 0;        ///< the source samples that have a weight
};

/// Makes `size` pixels out of a crop of an image.
class Resampler {
 public:
  Resampler(Size image, const Crop& crop, Size size);
  /// The source pixels that the result is made of; no others need to be decoded.
  Region region() const;
  /// `src` is the region's first pixel, with `stride` bytes from row to row; fills dst (height, width, 3).
  void run(const uint8_t* src, size_t stride, uint8_t* dst) const;

 private:
  /// The same where each pixel is one source pixel, which a crop of the result's size often is.
  void copy(const uint8_t* src, size_t stride, uint8_t* dst) const;

  Taps across_, down_;
};

/// Resamples `crop` of `src` to size x size RGB at `dst`. A crop of exactly that size on whole pixels is a copy.
void resample_crop(const DecodedImage& src, const Crop& crop, int size, uint8_t* dst);

/// Resamples all of `src` to `dst` at the given size; they must not be the same object.
void resample(const DecodedImage& src, Size size, DecodedImage& dst);

}  // namespace packhorse

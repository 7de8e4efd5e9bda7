// Prepares one image for a shard: checks it, and shrinks it if requested.
#pragma once

#include <cstddef>
#include <vector>

namespace packhorse {

struct Preparation {
  int short_edge = 0;        ///< larger images are shrunk to this many pixels on their short edge; 0: never shrink
  int quality = 95;          ///< JPEG quality of images that are encoded: shrunk images, and those that are not JPEG
  bool decode_check = true;  ///< decode all of a JPEG that is stored unchanged; else look only at its header and end
};

/// Converts an image's bytes to those that go into the shard. A JPEG that need not shrink keeps its bytes. Throws
/// DamageError with the reason if the image is damaged or its format is none that we can read.
void prepare_image(std::vector<std::byte>& bytes, const Preparation& preparation);

}  // namespace packhorse

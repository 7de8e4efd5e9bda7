// One image made ready for a shard: checked, and shrunk where that is asked for.
#pragma once

#include <cstddef>
#include <vector>

namespace packhorse {

struct Preparation {
  int short_edge = 0;        ///< 0: as it is; else larger images are shrunk until their short edge has so many pixels
  int quality = 95;          ///< of what has to be encoded: shrunk images, and those that are not JPEG
  bool decode_check = true;  ///< decode all of a JPEG that passes through; else look at its header and its end only
};

/// Turns an image's bytes into those that go into the shard. A JPEG that need not shrink keeps its own. Throws
/// DamageError, which says why, for what is not a sound image of a format we read.
void prepare_image(std::vector<std::byte>& bytes, const Preparation& preparation);

}  // namespace packhorse

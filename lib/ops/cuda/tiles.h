// How many threads and blocks a kernel over pixels and channels gets. It depends on the shape alone, so that sums have
// the same order on every device.
#pragma once

#include <vector_types.h>

#include <cstdint>

namespace packhorse::cuda {

struct Tiles {
  dim3 grid, block;
  unsigned chunks() const { return grid.x; }
};

/// `groups`: channels, in vectors of a thread. `chunks`: of the pixels, at most; each block takes one.
Tiles tiles(int64_t pixels, int64_t groups, int64_t chunks);

/// For kernels that keep nothing from pixel to pixel: a few pixels a thread.
Tiles pointwise_tiles(int64_t pixels, int64_t groups);
/// For sums over pixels: few blocks, whose sums are then added.
Tiles reduction_tiles(int64_t pixels, int64_t groups);

}  // namespace packhorse::cuda

#include "ops/cuda/tiles.h"

#include <algorithm>

namespace packhorse::cuda {

namespace {

constexpr int64_t kThreads = 256;          // kTileThreads of words.cuh
constexpr int64_t kWidest = 64;            // groups of channels in a block
constexpr int64_t kPixelsOfThread = 4;     // of a pointwise kernel: loads that are under way at the same time
constexpr int64_t kReductionBlocks = 528;  // four for each multiprocessor of the largest GPU in mind

int64_t divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The width that leaves the fewest threads without channels, the widest of those.
int64_t width_of(int64_t groups) {
  if (groups <= kWidest) return groups;
  int64_t best = kWidest;
  for (int64_t width = kWidest; width >= kWidest / 2; --width)
    if (divided(groups, width) * width < divided(groups, best) * best) best = width;
  return best;
}

}  // namespace

Tiles tiles(int64_t pixels, int64_t groups, int64_t chunks) {
  const int64_t width = width_of(groups), rows = std::min(kThreads / width, pixels);
  const int64_t blocks = std::min(divided(pixels, rows), std::max<int64_t>(chunks, 1));
  return {dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(divided(groups, width))),
          dim3(static_cast<unsigned>(width), static_cast<unsigned>(rows))};
}

Tiles pointwise_tiles(int64_t pixels, int64_t groups) {
  const int64_t rows = kThreads / width_of(groups);
  return tiles(pixels, groups, divided(pixels, rows * kPixelsOfThread));
}

Tiles reduction_tiles(int64_t pixels, int64_t groups) {
  return tiles(pixels, groups, kReductionBlocks / divided(groups, width_of(groups)));
}

}  // namespace packhorse::cuda

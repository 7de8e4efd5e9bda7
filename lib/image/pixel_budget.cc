#include "image/pixel_budget.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace packhorse {
namespace {

struct Budget {
  std::mutex mutex;
  std::condition_variable freed;
  int64_t free = kMaxPixels;
};
Budget& budget() {
  static Budget budget;
  return budget;
}

}  // namespace

PixelPermit::PixelPermit(Size image) : pixels_(std::min(int64_t{image.width} * image.height, kMaxPixels)) {
  std::unique_lock lock(budget().mutex);
  budget().freed.wait(lock, [&] { return budget().free >= pixels_; });
  budget().free -= pixels_;
}

PixelPermit::~PixelPermit() {
  {
    const std::lock_guard lock(budget().mutex);
    budget().free += pixels_;
  }
  budget().freed.notify_all();
}

void drop_if_large(DecodedImage& image) {
  constexpr auto kBytes = static_cast<size_t>(3 * kLargeImage);
  if (image.pixels.capacity() >= kBytes) image = {};
}

}  // namespace packhorse

#include "image/pixel_budget.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

TEST(PixelBudget, LargeImagesAreDecodedOneAfterTheOther) {
  std::atomic<int> at_work{0}, most{0};
  std::vector<std::jthread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      const PixelPermit permit({16000, 12000});  // two would be more than there may be
      const int now = ++at_work;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --at_work;
    });
  threads.clear();
  EXPECT_EQ(most, 1);
}

TEST(PixelBudget, UsualImagesDoNotWait) {
  std::vector<std::optional<PixelPermit>> permits(200);
  for (std::optional<PixelPermit>& permit : permits) permit.emplace(Size{1200, 1000});
}

TEST(PixelBudget, AnImageOfTheWholeBudgetIsDecodedAlone) {
  std::optional<PixelPermit> small(std::in_place, Size{100, 100});
  std::atomic<bool> begun{false};
  std::jthread large([&] {
    const PixelPermit permit({32768, 32768});
    begun = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(begun);
  small.reset();
  large.join();
  EXPECT_TRUE(begun);
}

TEST(PixelBudget, TheBufferOfALargeImageIsNotKept) {
  DecodedImage image{10, 10, std::vector<uint8_t>(300)};
  drop_if_large(image);
  EXPECT_EQ(image.pixels.size(), 300u);
  image.pixels.reserve(static_cast<size_t>(3 * kLargeImage));
  drop_if_large(image);
  EXPECT_EQ(image.pixels.capacity(), 0u);
}

}  // namespace
}  // namespace packhorse

#include "tensor/types.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

float through(float value) { return static_cast<float>(Bf16(value)); }

TEST(Bf16, KeepsRepresentableValues) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = std::bit_cast<float>(bits << 16);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(through(value))) << bits;
    } else {
      EXPECT_EQ(Bf16(value).bits, bits);
    }
  }
}

// Seven fraction bits: between 1 and 2 the steps are 2^-7, so rounding changes a value by at most 2^-8.
TEST(Bf16, RoundsToTheNearest) {
  for (float value = 1.0f; value < 2.0f; value += 0.001f) ASSERT_LE(std::abs(through(value) - value), 0x1p-8f);
  EXPECT_EQ(through(1.0f + 0x1p-8f), 1.0f) << "a tie goes to the even neighbour, here below";
  EXPECT_EQ(through(1.0f + 3 * 0x1p-8f), 1.0f + 4 * 0x1p-8f) << "a tie goes to the even neighbour, here above";
}

TEST(Bf16, KeepsInfinityAndNan) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(through(kInfinity), kInfinity);
  EXPECT_EQ(through(-kInfinity), -kInfinity);
  EXPECT_EQ(through(std::numeric_limits<float>::max()), kInfinity) << "above the largest Bf16 it rounds up";
  EXPECT_TRUE(std::isnan(through(std::bit_cast<float>(0x7f800001u)))) << "a NaN with a truncated payload stays a NaN";
}

TEST(Shape, CountsIn64Bits) {
  const Shape shape{512, 112, 112, 1024};
  EXPECT_EQ(shape.pixels(), int64_t{512} * 112 * 112);
  EXPECT_EQ(shape.count(), int64_t{6576668672});
}

}  // namespace
}  // namespace packhorse

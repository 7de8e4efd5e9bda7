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

float through_half(float value) { return static_cast<float>(F16(value)); }

TEST(F16, KeepsRepresentableValues) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    F16 half;
    half.bits = static_cast<uint16_t>(bits);
    const auto value = static_cast<float>(half);
    const uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f && fraction != 0) {
      EXPECT_TRUE(std::isnan(value) && std::isnan(through_half(value))) << bits;
      continue;
    }
    EXPECT_EQ(F16(value).bits, bits);
    const double size = exponent == 0x1f ? std::numeric_limits<double>::infinity()
                        : exponent == 0  ? std::ldexp(fraction, -24)
                                         : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    EXPECT_EQ(value, bits < 0x8000 ? size : -size) << bits;
  }
}

TEST(F16, RoundsToTheNearest) {
  for (float value = 1.0f; value < 2.0f; value += 0.0001f) ASSERT_LE(std::abs(through_half(value) - value), 0x1p-11f);
  EXPECT_EQ(through_half(1.0f + 0x1p-11f), 1.0f) << "a tie goes to the even neighbour, here below";
  EXPECT_EQ(through_half(1.0f + 3 * 0x1p-11f), 1.0f + 4 * 0x1p-11f) << "a tie goes to the even neighbour, here above";
  EXPECT_EQ(through_half(65519.0f), 65504.0f) << "the largest number";
  EXPECT_EQ(through_half(65520.0f), std::numeric_limits<float>::infinity());
}

TEST(F16, RoundsBelowTheNormalNumbers) {
  for (float value = 0; value < 0x1p-13f; value += 0x1.3p-29f)
    ASSERT_LE(std::abs(through_half(value) - value), 0x1p-25f) << value;
  EXPECT_EQ(through_half(0x1p-25f), 0.0f) << "a tie goes to the even neighbour";
  EXPECT_EQ(through_half(3 * 0x1p-25f), 2 * 0x1p-24f) << "a tie goes to the even neighbour";
  EXPECT_EQ(through_half(-0x1.8p-15f), -0x1.8p-15f);
}

TEST(Shape, CountsIn64Bits) {
  const Shape shape{512, 112, 112, 1024};
  EXPECT_EQ(shape.pixels(), int64_t{512} * 112 * 112);
  EXPECT_EQ(shape.count(), int64_t{6576668672});
}

}  // namespace
}  // namespace packhorse

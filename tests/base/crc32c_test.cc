#include "base/crc32c.h"

#include <vector>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Published values: the check value of CRC-32C, and the vectors of RFC 3720, B.4.
TEST(Crc32c, MatchesPublishedValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xff'))), 0x62A8AB43u);
  std::string rising(32, '\0');
  for (int i = 0; i < 32; ++i) rising[i] = static_cast<char>(i);
  EXPECT_EQ(crc32c(bytes_of(rising)), 0x46DD794Eu);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, ContinuesFromAPreviousChecksum) {
  const std::string text = "the checksum of a whole is that of its parts, one after the other";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(bytes_of(text.substr(cut)), crc32c(bytes_of(text.substr(0, cut)))), crc32c(bytes_of(text)));
  }
}

TEST(Crc32c, DetectsEachFlippedBit) {
  std::string text = "forty-one bytes, an odd number, unaligned";
  const uint32_t sound = crc32c(bytes_of(text));
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(crc32c(bytes_of(text)), sound) << "bit " << bit;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
  }
}

TEST(Crc32c, TextHasEightDigits) {
  EXPECT_EQ(crc32c_text(0), "00000000");
  EXPECT_EQ(crc32c_text(0xE3069283u), "e3069283");
}

}  // namespace
}  // namespace packhorse

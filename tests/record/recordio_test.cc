#include "record/recordio.h"

#include <bit>
#include <cstring>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/philox.h"

namespace packhorse {
namespace {

using Bytes = std::vector<std::byte>;

Bytes some_bytes(size_t count, uint64_t address) {
  RandomStream random(1, RandomUse::test, 0, address);
  Bytes bytes(count);
  for (std::byte& each : bytes) each = static_cast<std::byte>(random.next() & 0xff);
  return bytes;
}

void put(Bytes& dst, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) dst.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
}

Bytes of_image(std::span<const std::byte> image) { return {image.begin(), image.end()}; }

/// A record as MXNet's tools write it: without a checksum, and with `labels` after the header.
Bytes mxnet_record(uint32_t flag, float label, const std::vector<float>& labels, const Bytes& image) {
  Bytes payload;
  put(payload, flag, 4);
  put(payload, std::bit_cast<uint32_t>(label), 4);
  put(payload, 77, 8);
  put(payload, 0, 8);
  for (const float each : labels) put(payload, std::bit_cast<uint32_t>(each), 4);
  payload.insert(payload.end(), image.begin(), image.end());
  Bytes record;
  put(record, kRecordMagic, 4);
  put(record, payload.size(), 4);
  record.insert(record.end(), payload.begin(), payload.end());
  while (record.size() % 4 != 0) record.push_back(std::byte{0});
  return record;
}

TEST(RecordIo, BytesAreThoseOfMxnet) {
  const Bytes image = {std::byte{0xaa}, std::byte{0xbb}, std::byte{0xcc}};
  Bytes record;
  append_record(0x1122334455667788, 9, image, record);
  Bytes want;
  put(want, 0xced7230a, 4);
  put(want, 27, 4);  // 24 of header and 3 of image; kind 0 in the upper three bits
  put(want, 0, 4);
  put(want, std::bit_cast<uint32_t>(9.0f), 4);
  put(want, 0x1122334455667788, 8);
  Bytes covered(want.begin() + 8, want.end());
  covered.insert(covered.end(), image.begin(), image.end());
  put(want, crc32c(covered), 4);
  for (const char c : {'P', 'C', 'R', 'C'}) want.push_back(static_cast<std::byte>(c));
  want.insert(want.end(), image.begin(), image.end());
  want.push_back(std::byte{0});
  EXPECT_EQ(record, want);
}

TEST(RecordIo, ReadsWhatItWrote) {
  for (size_t length = 0; length < 70; ++length) {
    const Bytes image = some_bytes(length, length);
    Bytes bytes;
    append_record(length, static_cast<uint32_t>(length * 300), image, bytes);
    EXPECT_EQ(bytes.size() % 4, 0u);
    const Record record = parse_record(bytes, "here");
    EXPECT_EQ(record.id, length);
    EXPECT_EQ(record.label, length * 300);
    EXPECT_TRUE(record.checked);
    EXPECT_EQ(of_image(record.image), image);
  }
}

TEST(RecordIo, ReadsImagesThatContainTheMagicAnywhere) {
  for (size_t first = 0; first < 40; ++first) {
    for (size_t second = first + 1; second < 48; ++second) {
      Bytes image = some_bytes(52, first);
      const uint32_t magic = kRecordMagic;
      std::memcpy(image.data() + second, &magic, 4);
      std::memcpy(image.data() + first, &magic, 4);
      Bytes bytes;
      append_record(5, 6, image, bytes);
      // The magic is at a multiple of four only where a part begins: a reader may search for the next record with it.
      for (size_t at = 0, parts = 0; at < bytes.size(); ++parts) {
        uint32_t word = 0, length = 0;
        std::memcpy(&word, bytes.data() + at, 4);
        ASSERT_EQ(word, kRecordMagic);
        std::memcpy(&length, bytes.data() + at + 4, 4);
        const uint32_t kind = length >> 29;
        length &= (1u << 29) - 1;
        at += 8 + (length + 3) / 4 * 4;
        ASSERT_EQ(kind, at == bytes.size() ? (parts == 0 ? 0u : 3u) : (parts == 0 ? 1u : 2u));
      }
      const Record record = parse_record(bytes, "here");
      EXPECT_EQ(of_image(record.image), image) << first << ' ' << second;
      EXPECT_TRUE(record.checked);
    }
  }
}

TEST(RecordIo, ReadsAnImageThatIsAllMagic) {
  Bytes image;
  for (int i = 0; i < 100; ++i) put(image, kRecordMagic, 4);
  Bytes bytes;
  append_record(kRecordMagic, 0, image, bytes);  // the id is the magic, too
  const Record record = parse_record(bytes, "here");
  EXPECT_EQ(of_image(record.image), image);
  EXPECT_EQ(record.id, kRecordMagic);
}

TEST(RecordIo, DetectsEachFlippedBit) {
  Bytes image = some_bytes(45, 3);
  const uint32_t magic = kRecordMagic;
  std::memcpy(image.data() + 16, &magic, 4);  // so that the framing between parts is tested, too
  Bytes good;
  append_record(12, 3, image, good);
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bytes = good;
      bytes[at] ^= static_cast<std::byte>(1 << bit);
      EXPECT_THROW(parse_record(bytes, "here"), DamageError) << "byte " << at << " bit " << bit;
    }
  }
}

TEST(RecordIo, RefusesShortAndLongRecords) {
  Bytes good;
  append_record(1, 2, some_bytes(30, 4), good);
  for (size_t length = 0; length < good.size(); ++length) {
    Bytes bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_THROW(parse_record(bytes, "here"), DamageError) << length;
  }
  Bytes longer = good;
  longer.resize(good.size() + 4);
  EXPECT_THROW(parse_record(longer, "here"), DamageError);
  Bytes two = good;
  two.insert(two.end(), good.begin(), good.end());
  EXPECT_THROW(parse_record(two, "here"), DamageError);
}

TEST(RecordIo, ReadsRecordsOfMxnetWithoutChecksum) {
  const Bytes image = some_bytes(33, 5);
  Bytes one = mxnet_record(0, 4, {}, image);
  const Record plain = parse_record(one, "here");
  EXPECT_EQ(plain.label, 4u);
  EXPECT_EQ(plain.id, 77u);
  EXPECT_FALSE(plain.checked);
  EXPECT_EQ(of_image(plain.image), image);

  Bytes listed = mxnet_record(1, 0, {8}, image);
  const Record labelled = parse_record(listed, "here");
  EXPECT_EQ(labelled.label, 8u);
  EXPECT_EQ(of_image(labelled.image), image);
}

TEST(RecordIo, RefusesLabelsThatAreNotAClass) {
  for (const float label : {-1.0f, 0.5f, 1e9f, std::numeric_limits<float>::quiet_NaN()}) {
    Bytes bytes = mxnet_record(0, label, {}, some_bytes(8, 6));
    EXPECT_THROW(parse_record(bytes, "here"), DamageError) << label;
  }
  Bytes several = mxnet_record(5, 0, {1, 2, 3, 4, 5}, {});
  EXPECT_THROW(parse_record(several, "here"), Error);
  Bytes missing = mxnet_record(1, 0, {}, {});
  EXPECT_THROW(parse_record(missing, "here"), DamageError);
  Bytes none;
  EXPECT_THROW(append_record(0, kMaxLabel + 1, {}, none), Error);
  EXPECT_NO_THROW(append_record(0, kMaxLabel, {}, none));
}

TEST(RecordIo, RefusesATooLongImageBeforeCopyingIt) {
  Bytes dst;
  const std::byte one{};
  // The span claims more bytes than there are: a writer that read them would crash.
  EXPECT_THROW(append_record(0, 0, std::span(&one, kMaxRecordBytes), dst), Error);
  EXPECT_TRUE(dst.empty());
}

TEST(RecordIo, RandomEditsNeverCrash) {
  Bytes good;
  Bytes image = some_bytes(200, 7);
  const uint32_t magic = kRecordMagic;
  std::memcpy(image.data() + 40, &magic, 4);
  append_record(1, 2, image, good);
  for (uint64_t i = 0; i < 20000; ++i) {
    RandomStream random(9, RandomUse::test, 1, i);
    Bytes bytes = good;
    bytes.resize(random.below(static_cast<uint32_t>(good.size()) + 40));
    for (uint32_t edits = random.below(6); edits > 0 && !bytes.empty(); --edits) {
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<std::byte>(random.next() & 0xff);
    }
    if (bytes == good) continue;
    EXPECT_THROW(parse_record(bytes, "here"), Error) << i;
  }
}

}  // namespace
}  // namespace packhorse

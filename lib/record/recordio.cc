#include "record/recordio.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/crc32c.h"
#include "base/error.h"

namespace packhorse {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian, and so is this code");

enum Kind : uint32_t { kWhole = 0, kFirst = 1, kMiddle = 2, kLast = 3 };

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

size_t padded(size_t bytes) { return (bytes + 3) & ~size_t{3}; }

/// The offset of the first magic at a multiple of four in [from, payload.size()), or the payload's size.
size_t find_magic(std::span<const std::byte> payload, size_t from) {
  for (; from + 4 <= payload.size(); from += 4) {
    if (load<uint32_t>(payload.data() + from) == kRecordMagic) return from;
  }
  return payload.size();
}

void append_part(Kind kind, std::span<const std::byte> bytes, std::vector<std::byte>& dst) {
  const size_t begin = dst.size();
  dst.resize(begin + kPartHeaderBytes + padded(bytes.size()));
  store(dst.data() + begin, kRecordMagic);
  store(dst.data() + begin + 4, kind << 29 | static_cast<uint32_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(dst.data() + begin + kPartHeaderBytes, bytes.data(), bytes.size());
}

/// Writes a payload that contains the magic, split at each place where it does.
void append_in_parts(std::span<const std::byte> payload, std::vector<std::byte>& dst) {
  size_t from = 0;
  for (size_t cut = find_magic(payload, 0); cut < payload.size(); cut = find_magic(payload, from)) {
    append_part(from == 0 ? kFirst : kMiddle, payload.subspan(from, cut - from), dst);
    from = cut + 4;
  }
  append_part(kLast, payload.subspan(from), dst);
}

uint32_t checksum(std::span<const std::byte> header, std::span<const std::byte> rest) {
  return crc32c(rest, crc32c(header.first(16)));
}

[[noreturn]] void damaged(const std::string& what, const std::string& where) {
  throw DamageError({what, where, "the shard is damaged: copy it again, or pack it again from its list"});
}

struct Part {
  uint32_t kind = kWhole;
  size_t bytes = 0;
};

/// Reads a part's framing; `left` bytes are left for all of it.
Part framed(std::span<const std::byte> framing, uint64_t left, const std::string& where) {
  if (framing.size() < kPartHeaderBytes) damaged("a record ends inside its framing", where);
  if (load<uint32_t>(framing.data()) != kRecordMagic) damaged("no record begins where one should", where);
  const auto word = load<uint32_t>(framing.data() + 4);
  const Part part{word >> 29, word & kMaxRecordBytes};
  if (padded(part.bytes) > left - kPartHeaderBytes) damaged("a record is longer than the space that it has", where);
  if (part.kind > kLast) damaged("a record's parts are out of order", where);
  return part;
}

/// Reads the part header at `at`; checks that the part and its padding are inside `bytes`, and the padding is zero.
Part part_at(std::span<const std::byte> bytes, size_t at, const std::string& where) {
  const Part part = framed(bytes.subspan(at), bytes.size() - at, where);
  for (size_t i = part.bytes; i < padded(part.bytes); ++i) {
    if (bytes[at + kPartHeaderBytes + i] != std::byte{0}) damaged("a record's padding is not zero", where);
  }
  return part;
}

/// Joins the parts at the front of `bytes`, with the removed magics put back, and returns the payload.
std::span<std::byte> join(std::span<std::byte> bytes, const std::string& where) {
  size_t from = 0, length = 0;
  for (uint32_t before = kWhole;;) {
    const Part part = part_at(bytes, from, where);
    const bool opens = part.kind == kWhole || part.kind == kFirst;
    if (opens != (from == 0)) damaged("a record's parts are out of order", where);
    if (before != kWhole) {  // the writer removed the magic between two parts
      store(bytes.data() + length, kRecordMagic);
      length += 4;
    }
    std::memmove(bytes.data() + length, bytes.data() + from + kPartHeaderBytes, part.bytes);
    length += part.bytes;
    from += kPartHeaderBytes + padded(part.bytes);
    if (part.kind == kWhole || part.kind == kLast) break;
    if (part.bytes % 4 != 0) damaged("a record is split at a place that is not a multiple of four bytes", where);
    before = part.kind;
  }
  if (from != bytes.size()) damaged("a record is shorter than the space that the index gives it", where);
  return bytes.first(length);
}

uint32_t whole_label(float label, const std::string& where) {
  if (!(label >= 0) || label > static_cast<float>(kMaxLabel) || label != std::floor(label)) {
    damaged("the label " + std::to_string(label) + " is not a class index", where);
  }
  return static_cast<uint32_t>(label);
}

}  // namespace

void append_record(uint64_t id, uint32_t label, std::span<const std::byte> image, std::vector<std::byte>& dst) {
  const size_t length = kRecordHeaderBytes + image.size();
  if (length > kMaxRecordBytes) {
    throw Error({"an image of " + std::to_string(image.size()) + " bytes does not fit into a record (at most " +
                     std::to_string(kMaxRecordBytes - kRecordHeaderBytes) + ")",
                 "image " + std::to_string(id), "pack with --resize, which makes images smaller"});
  }
  if (label > kMaxLabel) {
    throw Error({"the label " + std::to_string(label) + " does not fit into a record (at most 2^24)",
                 "image " + std::to_string(id), ""});
  }
  const size_t begin = dst.size();
  dst.resize(begin + kPartHeaderBytes + padded(length));
  store(dst.data() + begin, kRecordMagic);
  store(dst.data() + begin + 4, kWhole << 29 | static_cast<uint32_t>(length));
  const auto payload = std::span(dst).subspan(begin + kPartHeaderBytes, length);
  store(payload.data(), uint32_t{0});
  store(payload.data() + 4, static_cast<float>(label));
  store(payload.data() + 8, id);
  if (!image.empty()) std::memcpy(payload.data() + kRecordHeaderBytes, image.data(), image.size());
  store(payload.data() + 16, checksum(payload, payload.subspan(kRecordHeaderBytes)));
  store(payload.data() + 20, kChecksumTag);

  if (find_magic(payload, 0) < payload.size()) {  // in one image of a hundred thousand
    const std::vector<std::byte> whole(payload.begin(), payload.end());
    dst.resize(begin);
    append_in_parts(whole, dst);
  }
}

Record parse_record(std::span<std::byte> bytes, const std::string& where) {
  const std::span<std::byte> payload = join(bytes, where);
  if (payload.size() < kRecordHeaderBytes) damaged("a record is too short for an image's header", where);
  const auto flag = load<uint32_t>(payload.data());
  const auto tagged = load<uint64_t>(payload.data() + 16);
  Record record;
  record.id = load<uint64_t>(payload.data() + 8);
  record.image = payload.subspan(kRecordHeaderBytes);
  if (tagged != 0) {
    if (tagged >> 32 != kChecksumTag) damaged("a record's checksum field is neither 0 nor written by Packhorse", where);
    if (static_cast<uint32_t>(tagged) != checksum(payload, record.image)) {
      damaged("a record's checksum does not match its bytes", where);
    }
    record.checked = true;
  }
  record.label = label_at(payload, where);
  if (flag == 1) record.image = record.image.subspan(sizeof(float));  // the label follows the header
  return record;
}

PartFrame parse_part(std::span<const std::byte> framing, uint64_t left, const std::string& where) {
  const Part part = framed(framing, left, where);
  return {kPartHeaderBytes + padded(part.bytes), part.kind == kFirst || part.kind == kMiddle};
}

uint32_t label_at(std::span<const std::byte> payload, const std::string& where) {
  if (payload.size() < kRecordHeaderBytes) damaged("a record is too short for an image's header", where);
  const auto flag = load<uint32_t>(payload.data());
  if (flag > 1) {
    throw Error({"a record has " + std::to_string(flag) + " labels, but only one label for each image is supported",
                 where, "pack it again from a list with one label for each image"});
  }
  if (flag == 0) return whole_label(load<float>(payload.data() + 4), where);
  if (payload.size() < kRecordHeaderBytes + sizeof(float)) damaged("a record is too short for its label", where);
  return whole_label(load<float>(payload.data() + kRecordHeaderBytes), where);
}

}  // namespace packhorse

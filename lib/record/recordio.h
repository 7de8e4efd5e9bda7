// The format of a record: MXNet's RecordIO, byte for byte.
//
// A record is one or more parts, each: u32 magic 0xced7230a, u32 (kind << 29 | bytes), the bytes, zeros up to a
// multiple of four. Kind 0 is a whole record. A payload that contains the magic at a multiple of four bytes is split
// there, without the magic, into kinds 1 (first), 2 (middle), 3 (last). An image's payload begins with a 24-byte
// header: u32 flag, f32 label, u64 image_id[0], u64 image_id[1]; flag > 0 is the number of f32 labels that follow the
// header. All numbers are little-endian. (Source: dmlc-core recordio.h and MXNet image_recordio.h.)
//
// Added by Packhorse: image_id[1], which MXNet's tools leave 0, has kChecksumTag in its upper half, and in its lower
// half the CRC32C of the other 16 header bytes and the payload. Rule: the checksum or the framing covers every bit of a
// shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace packhorse {

inline constexpr uint32_t kRecordMagic = 0xced7230a;
inline constexpr uint32_t kChecksumTag = 0x43524350;  // "PCRC" on disk

/// Size of the framing before each part of a record.
inline constexpr size_t kPartHeaderBytes = 8;
/// Size of the header before each image.
inline constexpr size_t kRecordHeaderBytes = 24;
/// A part's length has 29 bits; MXNet does not accept a longer record, not even in several parts.
inline constexpr size_t kMaxRecordBytes = (size_t{1} << 29) - 1;
/// Labels are stored as f32, in which every integer up to this one is exact.
inline constexpr uint32_t kMaxLabel = uint32_t{1} << 24;

/// One image in a shard.
struct Record {
  uint64_t id = 0;  ///< image_id[0]: the image's number in its list
  uint32_t label = 0;
  bool checked = false;              ///< it has a checksum, which matches (records of MXNet's tools have none)
  std::span<const std::byte> image;  ///< the image, inside the buffer that the record was read into
};

/// Appends one record in its on-disk form to `dst`. Throws if the image is too long or the label too large for the
/// format.
void append_record(uint64_t id, uint32_t label, std::span<const std::byte> image, std::vector<std::byte>& dst);

/// Parses the record that begins at bytes[0] and must end at bytes.size() (so framing, padding and length are all
/// checked). A record of several parts is joined in place. `where` names the record in a DamageError.
Record parse_record(std::span<std::byte> bytes, const std::string& where);

/// What the framing of a part says.
struct PartFrame {
  size_t bytes_on_disk = 0;  ///< framing, bytes and padding
  bool continues = false;    ///< another part of the record follows
};
/// Parses a part's framing, of which `left` bytes are left in the file. The padding is not looked at.
PartFrame parse_part(std::span<const std::byte> framing, uint64_t left, const std::string& where);

/// The label of the record whose payload begins with `payload`: the header and, if there is more, four bytes at least.
uint32_t label_at(std::span<const std::byte> payload, const std::string& where);

}  // namespace packhorse

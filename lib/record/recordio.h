// MXNet's RecordIO, byte for byte: what a record is.
//
// A record is one or more parts, each: u32 magic 0xced7230a, u32 (kind << 29 | bytes), the bytes, zeros up to a
// multiple of four. Kind 0 is a whole record; a payload that itself holds the magic at a multiple of four bytes is cut
// there (the magic dropped) into kinds 1 (first), 2 (middle), 3 (last). An image's payload begins with a 24-byte
// header: u32 flag, f32 label, u64 image_id[0], u64 image_id[1]; flag > 0 is the number of f32 labels that follow it.
// All little-endian. (Source: dmlc-core recordio.h and MXNet image_recordio.h.)
//
// Ours: image_id[1], which MXNet's tools leave 0, holds kChecksumTag in its upper half and in its lower half the CRC32C
// of the other 16 header bytes and the payload. Rule: every bit of a shard is covered, by the checksum or by the
// framing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace packhorse {

inline constexpr uint32_t kRecordMagic = 0xced7230a;
inline constexpr uint32_t kChecksumTag = 0x43524350;  // "PCRC" on disk

/// The header that stands before each image.
inline constexpr size_t kRecordHeaderBytes = 24;
/// A part's length has 29 bits; MXNet takes no longer record, cut or not.
inline constexpr size_t kMaxRecordBytes = (size_t{1} << 29) - 1;
/// Labels travel as f32, which counts exactly up to here.
inline constexpr uint32_t kMaxLabel = uint32_t{1} << 24;

/// One image as it stands in a shard.
struct Record {
  uint64_t id = 0;  ///< image_id[0]: the image's number in its list
  uint32_t label = 0;
  bool checked = false;  ///< it carried a checksum, and the checksum held (records of MXNet's tools carry none)
  std::span<const std::byte> image;  ///< the encoded image, inside the buffer it was read into
};

/// Appends one record in its on-disk form to `dst`. Throws for an image too long or a label too large for the format.
void append_record(uint64_t id, uint32_t label, std::span<const std::byte> image, std::vector<std::byte>& dst);

/// Parses the record that begins at bytes[0] and must end at bytes.size() (so framing, padding and length are all
/// checked). A record of several parts is joined in place. `where` names it in a DamageError.
Record parse_record(std::span<std::byte> bytes, const std::string& where);

}  // namespace packhorse

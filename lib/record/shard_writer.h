// Shards for writing: records in order, and the index beside them.
//
// Rule: both are written beside their places and renamed once they are whole and flushed; their bytes and checksums are
// known without reading them again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/files.h"

namespace packhorse {

class ShardWriter {
 public:
  ShardWriter(const std::filesystem::path& rec, const std::filesystem::path& idx);
  /// Appends an encoded image as it is.
  void append(uint64_t id, uint32_t label, std::span<const std::byte> image);
  /// Appends a record that append_record() has already made; `id` is its key in the index.
  void append_made(uint64_t id, std::span<const std::byte> record);
  /// Both files flushed and in their places.
  void commit();

  uint64_t records() const { return records_; }
  FileFacts rec_facts() const { return {rec_.bytes(), rec_.crc32c()}; }
  FileFacts idx_facts() const { return {idx_.bytes(), idx_.crc32c()}; }

 private:
  OutputFile rec_, idx_;
  std::vector<std::byte> record_;
  uint64_t records_ = 0;
};

}  // namespace packhorse

// Writing shards: records in order, and their index.
//
// Rule: both files are written next to their final paths, and renamed when they are complete and flushed. Their sizes
// and checksums are known without reading them again.
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
  /// Appends an image, with its bytes unchanged.
  void append(uint64_t id, uint32_t label, std::span<const std::byte> image);
  /// Appends a record that append_record() has already made; `id` is its key in the index.
  void append_made(uint64_t id, std::span<const std::byte> record);
  /// Flushes both files and moves them to their final paths.
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

// Shards for reading: one numbering of records over all of them, any record in one read. An index of 8 bytes a record
// is all that is kept in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "record/recordio.h"

namespace packhorse {

/// A shard and its index (`key TAB offset`, one line a record, as MXNet writes it).
struct ShardPath {
  std::filesystem::path rec, idx;
};

class ShardReader {
 public:
  /// Opens all shards in order; reads the indexes; throws where an index does not fit its shard.
  explicit ShardReader(const std::vector<ShardPath>& shards);
  uint64_t records() const { return first_.back(); }
  size_t shards() const { return files_.size(); }
  /// Reads record `index` of [0, records()) into `buffer` (grown as needed) and checks it. Any number of threads.
  Record read(uint64_t index, std::vector<std::byte>& buffer) const;
  /// Number of the first record of a shard; first_of(shards()) is records().
  uint64_t first_of(size_t shard) const { return first_[shard]; }
  /// Tells the kernel that records [first, first + count) are due soon.
  void will_need(uint64_t first, uint64_t count) const;
  /// "train-00003-of-00064.rec record 17", for messages.
  std::string name_of(uint64_t index) const;
  /// Bytes of memory that the indexes take.
  uint64_t index_bytes() const;

 private:
  size_t shard_of(uint64_t index) const;
  /// Where record `index` of `shard` ends inside it.
  uint64_t end_of(size_t shard, uint64_t index) const;

  std::vector<InputFile> files_;
  std::vector<uint64_t> first_;    ///< number of the first record of each shard, and the total
  std::vector<uint64_t> offsets_;  ///< of each record inside its shard
};

}  // namespace packhorse

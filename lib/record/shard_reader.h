// Reading shards: one numbering of records over all shards, and any record with one read. Memory holds only an index of
// 8 bytes for each record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "record/recordio.h"

namespace packhorse {

/// A shard and its index (`key TAB offset`, one line for each record, as MXNet writes it).
struct ShardPath {
  std::filesystem::path rec, idx;
};

/// The keys of an index's lines in the order of the records that they point to. Throws a DamageError if a key is no
/// number.
std::vector<uint64_t> index_keys(const std::filesystem::path& idx);

class ShardReader {
 public:
  /// Opens all shards in order and reads their indexes; throws if an index does not fit its shard.
  explicit ShardReader(const std::vector<ShardPath>& shards);
  uint64_t records() const { return first_.back(); }
  /// Reads record `index`, in [0, records()), into `buffer` (which grows if needed) and checks it. Several threads may
  /// call it at the same time, each with its own buffer.
  Record read(uint64_t index, std::vector<std::byte>& buffer) const;
  /// Tells the kernel that records [first, first + count) will be read soon.
  void will_need(uint64_t first, uint64_t count) const;
  /// "train-00003-of-00064.rec record 17", for messages.
  std::string name_of(uint64_t index) const;
  /// Memory that the indexes use, in bytes.
  uint64_t index_bytes() const;

 private:
  size_t shard_of(uint64_t index) const;
  /// The offset inside `shard` at which record `index` ends.
  uint64_t end_of(size_t shard, uint64_t index) const;

  std::vector<InputFile> files_;
  std::vector<uint64_t> first_;    ///< index of the first record of each shard, then the total
  std::vector<uint64_t> offsets_;  ///< of each record in its shard
};

}  // namespace packhorse

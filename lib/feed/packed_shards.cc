#include "feed/packed_shards.h"

#include "base/crc32c.h"
#include "base/error.h"

namespace packhorse {

std::vector<ShardPath> shards_of(const StageManifest& pack, const std::string& split) {
  const auto shards = pack.outputs_of(split + "-shard");
  const auto indexes = pack.outputs_of(split + "-index");
  if (shards.size() != indexes.size()) {
    throw DamageError({std::to_string(shards.size()) + " shards and " + std::to_string(indexes.size()) +
                           " indexes of '" + split + "'",
                       pack.path.string(), "run pack again"});
  }
  // A manifest that lost a shard with its index would else train on the rest.
  const uint64_t records = records_of(pack, split);
  if (pack.counts.contains(split) && pack.counts[split].contains("packed") && pack.counts[split]["packed"] != records) {
    throw DamageError({"the shards of '" + split + "' have " + std::to_string(records) +
                           " records, and the manifest counts " + pack.counts[split]["packed"].dump(),
                       pack.path.string(), "run pack again"});
  }
  std::vector<ShardPath> paths;
  for (size_t i = 0; i < shards.size(); ++i) {
    check_file(shards[i], pack.path, false);  // each record carries its own checksum
    check_file(indexes[i], pack.path, true);
    paths.push_back({shards[i].path, indexes[i].path});
  }
  return paths;
}

uint64_t records_of(const StageManifest& pack, const std::string& split) {
  uint64_t records = 0;
  for (const FileEntry& shard : pack.outputs_of(split + "-shard")) records += shard.records;
  return records;
}

std::string data_crc32c(const StageManifest& pack, const std::string& split) {
  std::string all;
  for (const FileEntry& shard : pack.outputs_of(split + "-shard")) all += crc32c_text(shard.crc32c);
  return crc32c_text(crc32c(std::as_bytes(std::span(all))));
}

}  // namespace packhorse

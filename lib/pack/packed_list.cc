#include "pack/packed_list.h"

#include <regex>

#include <fmt/core.h>

namespace packhorse {
namespace fs = std::filesystem;

ShardPath PackedList::path_of(const fs::path& folder, uint64_t shard) const {
  const fs::path stem = folder / fmt::format("{}-{:05d}-of-{:05d}", split, shard, shards);
  return {stem.string() + ".rec", stem.string() + ".idx"};
}

void remove_shards(const fs::path& folder) {
  static const std::regex kShard("(train|validation)-[0-9]{5}-of-[0-9]{5}\\.(rec|idx)(\\.part)?");
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (std::regex_match(entry.path().filename().string(), kShard)) old.push_back(entry.path());
  }
  for (const fs::path& path : old) fs::remove(path);
}

}  // namespace packhorse

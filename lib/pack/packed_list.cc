#include "pack/packed_list.h"

#include <fmt/core.h>

namespace packhorse {
namespace fs = std::filesystem;

ShardPath PackedList::path_of(const fs::path& folder, uint64_t shard) const {
  const fs::path stem = folder / fmt::format("{}-{:05d}-of-{:05d}", split, shard, shards);
  return {stem.string() + ".rec", stem.string() + ".idx"};
}

}  // namespace packhorse

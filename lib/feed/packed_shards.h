// What a pack stage's manifest offers to training and evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest/stage_manifest.h"
#include "record/shard_reader.h"

namespace packhorse {

/// The shards of a split ("train" or "validation") in order; empty where there are none. Throws unless each shard has
/// its index and all stand there with the sizes that the manifest states.
std::vector<ShardPath> shards_of(const StageManifest& pack, const std::string& split);

/// Images in those shards, as the manifest states.
uint64_t records_of(const StageManifest& pack, const std::string& split);

/// Checksum over the shards' checksums: which data a checkpoint was trained on.
std::string data_crc32c(const StageManifest& pack, const std::string& split);

}  // namespace packhorse

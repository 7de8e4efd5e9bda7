// Reads what training and evaluation need from the manifest of pack.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest/stage_manifest.h"
#include "record/shard_reader.h"

namespace packhorse {

/// The shards of a split ("train" or "validation") in order; empty if there are none. Throws unless each shard has its
/// index and all files exist with the sizes in the manifest.
std::vector<ShardPath> shards_of(const StageManifest& pack, const std::string& split);

/// Number of images in those shards, from the manifest.
uint64_t records_of(const StageManifest& pack, const std::string& split);

/// Checksum over the shards' checksums: identifies the data that a checkpoint was trained on.
std::string data_crc32c(const StageManifest& pack, const std::string& split);

}  // namespace packhorse

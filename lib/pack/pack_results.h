// What the ranks report of the shards they packed, and what a plan needs to know before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "manifest/stage_manifest.h"
#include "pack/pack_shard.h"

namespace packhorse {

/// A shard as it was packed, on whichever rank.
struct ShardResult {
  size_t list = 0;  ///< index of its list
  uint64_t shard = 0;
  PackedShard packed;
};

/// Results as text, to travel between ranks; names and reasons may hold anything.
std::string text_of(const std::vector<ShardResult>& results);
/// The results of all ranks, in the order of lists and shards.
std::vector<ShardResult> results_from(const std::vector<std::string>& texts);

/// Writes `split TAB id TAB label TAB name TAB reason` for each refused image, in the order of the lists.
FileEntry write_quarantine(const std::vector<std::string>& splits, const std::vector<ShardResult>& results,
                           const std::filesystem::path& path);

/// How many of `listed` images may be refused before packing fails: the share `limit` of them. In a small set a share
/// of 0.1 % would not allow a single one, so up to kFewBroken are always allowed there, but never more than a tenth. A
/// limit of 0 allows none.
inline constexpr uint64_t kFewBroken = 16;
uint64_t broken_allowed(uint64_t listed, double limit);

/// What preparing a sample of images on one thread showed.
struct Probe {
  double images = 0, seconds = 0, bytes = 0;
};

/// Prepares up to 200 images spread over the list, for 2 seconds at most; writes nothing.
Probe probe_packing(std::span<const ImageEntry> images, const ImageReader& reader, const Preparation& preparation);

}  // namespace packhorse

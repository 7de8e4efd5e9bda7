// What the ranks report about the shards that they packed, and the probe that a plan is based on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "manifest/stage_manifest.h"
#include "pack/pack_shard.h"

namespace packhorse {

/// A packed shard, from any rank.
struct ShardResult {
  size_t list = 0;  ///< index of its list
  uint64_t shard = 0;
  PackedShard packed;
};

/// Results as text, to send between ranks; names and reasons may contain any characters.
std::string text_of(const std::vector<ShardResult>& results);
/// The results of all ranks, in the order of lists and shards.
std::vector<ShardResult> results_from(const std::vector<std::string>& texts);

/// Writes `split TAB id TAB label TAB name TAB reason` for each refused image, in the order of the lists.
FileEntry write_quarantine(const std::vector<std::string>& splits, const std::vector<ShardResult>& results,
                           const std::filesystem::path& path);

/// How many of `listed` images may be refused before packing fails: the fraction `limit` of them. In a small set a
/// fraction of 0.1 % would not allow a single one, so up to kFewBroken are always allowed, but at most a tenth. A limit
/// of 0 allows none.
inline constexpr uint64_t kFewBroken = 16;
uint64_t broken_allowed(uint64_t listed, double limit);

/// What it took to prepare a sample of images on one thread.
struct Probe {
  double images = 0, broken = 0, seconds = 0, bytes = 0;
};

/// The labels of a list of which images are listed and none is packed, rising. `list` is its number in the results.
std::vector<uint32_t> classes_lost(std::span<const ImageEntry> images, size_t list,
                                   const std::vector<ShardResult>& results);

/// Prepares up to 200 images spread over the list, for at most 2 seconds; writes nothing.
Probe probe_packing(std::span<const ImageEntry> images, const ImageReader& reader, const Preparation& preparation);

}  // namespace packhorse

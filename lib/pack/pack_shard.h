// Ranges of a list made into shards, on many threads.
//
// Rules: a shard's bytes depend on the list and the preparation alone, never on threads or timing; every listed image
// is either in the shard or among the refused, with its reason.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "manifest/image_list.h"
#include "pack/prepare.h"
#include "record/shard_reader.h"
#include "source/image_reader.h"

namespace packhorse {

/// An image that was not packed, and why.
struct RefusedImage {
  uint64_t id = 0;
  uint32_t label = 0;
  std::string name, reason;
};

struct PackedShard {
  uint64_t records = 0;
  FileFacts rec, idx;
  std::vector<RefusedImage> refused;  ///< in the list's order
};

/// Memory that packing with so many threads holds at most, for images of so many bytes and pixels.
uint64_t packing_memory(int threads, uint64_t image_bytes, uint64_t image_pixels);

/// A range of a list, where its images are, and the shard it becomes.
struct ShardJob {
  std::span<const ImageEntry> images;
  const ImageReader* reader = nullptr;
  ShardPath to;
};

/// Makes the shards one after the other, each on all threads; while one is flushed to the disk the next is begun.
/// Counts each image into `progress`.
std::vector<PackedShard> pack_shards(const std::vector<ShardJob>& jobs, const Preparation& preparation, int threads,
                                     Progress& progress);

/// An image's bytes as they would go into a shard, or a DamageError or Error that is this image's alone.
std::vector<std::byte> read_and_prepare(const ImageEntry& image, const ImageReader& reader,
                                        const Preparation& preparation);

}  // namespace packhorse

// Packs ranges of a list into shards, on many threads.
//
// Rules: a shard's bytes depend only on the list and the preparation, never on threads or timing; every listed image is
// either in the shard or among the refused images, with the reason.
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

/// Upper bound of the memory that packing uses, in bytes, for images of the given numbers of bytes and pixels.
uint64_t packing_memory(int threads, uint64_t image_bytes, uint64_t image_pixels);

/// A range of a list, where its images are, and the shard it becomes.
struct ShardJob {
  std::span<const ImageEntry> images;
  const ImageReader* reader = nullptr;
  ShardPath to;
};

/// Makes the shards one after the other, each on all threads; the flush of a shard to disk overlaps with packing the
/// next one. Counts each image in `progress`.
std::vector<PackedShard> pack_shards(const std::vector<ShardJob>& jobs, const Preparation& preparation, int threads,
                                     Progress& progress);

/// An image's bytes as a shard stores them. Throws an Error if this image cannot be packed, and an ArchiveError if the
/// file that holds many images is missing or too short.
std::vector<std::byte> read_and_prepare(const ImageEntry& image, const ImageReader& reader,
                                        const Preparation& preparation);

}  // namespace packhorse

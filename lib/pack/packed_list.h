// One list of images, and how it is divided into shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "manifest/image_list.h"
#include "record/shard_reader.h"

namespace packhorse {

struct PackedList {
  std::string split;  ///< "train" or "validation"
  std::vector<ImageEntry> images;
  uint64_t shards = 1;
  std::filesystem::path source;  ///< folder, tar or listing that the images are read from

  /// The images of one shard: the list is divided into ranges of equal length (± 1).
  std::span<const ImageEntry> images_of(uint64_t shard) const {
    const uint64_t begin = images.size() * shard / shards, end = images.size() * (shard + 1) / shards;
    return std::span(images).subspan(begin, end - begin);
  }
  /// FOLDER/train-00000-of-00064.rec and .idx.
  ShardPath path_of(const std::filesystem::path& folder, uint64_t shard) const;
};

}  // namespace packhorse

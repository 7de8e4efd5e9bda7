// Small shards of synthetic images, whose content identifies them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "image/jpeg.h"
#include "record/shard_reader.h"
#include "record/shard_writer.h"

namespace packhorse::test {

/// An image with a colour and a gradient that depend on its label, and a pattern that depends on its id.
inline DecodedImage made_image(uint64_t id, uint32_t label, int width, int height) {
  DecodedImage image;
  image.width = width;
  image.height = height;
  image.pixels.resize(static_cast<size_t>(width) * height * 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.pixels.data() + (static_cast<size_t>(y) * width + x) * 3;
      const int slope = label % 2 == 0 ? x * 100 / width : y * 100 / height;
      const int own =
          static_cast<int>((id * 37 + static_cast<uint64_t>(x / 4) * 11 + static_cast<uint64_t>(y / 4) * 7) % 32);
      pixel[0] = static_cast<uint8_t>(20 * (label % 6) + slope + own);
      pixel[1] = static_cast<uint8_t>(slope + own);
      pixel[2] = static_cast<uint8_t>(200 - 30 * (label % 6));
    }
  }
  return image;
}

struct MadeShards {
  int shards = 2;
  int records = 30;  ///< over all shards
  uint32_t classes = 4;
  int width = 32, height = 32;
};

/// Writes PREFIX-00000.rec and so on; record i has id i and label i % classes.
inline std::vector<ShardPath> write_shards(const std::filesystem::path& folder, const std::string& prefix,
                                           const MadeShards& made) {
  std::vector<ShardPath> paths;
  for (int shard = 0; shard < made.shards; ++shard) {
    const std::string name = prefix + "-0000" + std::to_string(shard);
    paths.push_back({folder / (name + ".rec"), folder / (name + ".idx")});
    ShardWriter writer(paths.back().rec, paths.back().idx);
    const int first = made.records * shard / made.shards, end = made.records * (shard + 1) / made.shards;
    for (int i = first; i < end; ++i) {
      const auto id = static_cast<uint64_t>(i);
      const uint32_t label = static_cast<uint32_t>(i) % made.classes;
      writer.append(id, label, encode_jpeg(made_image(id, label, made.width, made.height), 95));
    }
    writer.commit();
  }
  return paths;
}

}  // namespace packhorse::test

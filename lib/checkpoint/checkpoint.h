// The whole state of training in one HDF5 file: weights, statistics, momentum, the step, and the network, data and
// settings that they belong to.
//
// Layout: /parameters/NAME and /momentum/NAME (f32, the parameter's shape), /statistics/NAME (f32), root attributes
// schema, network, image_size, classes, classes_crc32c, data_crc32c, epoch, step, settings and results (JSON). The file
// is written under a temporary name in the same folder, flushed, then renamed.
// The CRC32C of each array is an attribute of its dataset: a damaged checkpoint is refused, never loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/json.h"
#include "net/graph.h"

namespace packhorse {

inline constexpr const char* kCheckpointSchema = "packhorse/checkpoint/2";

struct CheckpointInfo {
  std::string network;
  int64_t image_size = 0, classes = 0;
  std::string classes_crc32c;
  std::string data_crc32c;         ///< of the shards that it was trained on; empty if unknown
  int64_t epoch = 0;               ///< finished epochs
  int64_t step = 0;                ///< finished steps, from the beginning of training
  Json settings = Json::object();  ///< the training stage's settings
  Json results = Json::object();   ///< validation accuracy if known: {"top1": ..., "top5": ..., "loss": ...}
};

void save_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const Graph& graph,
                     std::span<const float> parameters, std::span<const float> statistics,
                     std::span<const float> momentum);

/// Reads only the attributes, which is fast. Throws a DamageError if the file is not a whole checkpoint, an Error if
/// its schema is older or newer.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& path);

/// Fills the arrays (an empty momentum is skipped). Throws if the network, the shapes or the classes are not the
/// graph's.
void load_checkpoint(const std::filesystem::path& path, const Graph& graph, std::span<float> parameters,
                     std::span<float> statistics, std::span<float> momentum);

}  // namespace packhorse

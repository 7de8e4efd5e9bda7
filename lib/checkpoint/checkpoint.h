// The whole state of training in one HDF5 file: weights, statistics, momentum, the step, and what they belong to.
//
// Layout: /parameters/NAME and /momentum/NAME (f32, the parameter's shape), /statistics/NAME (f32), root attributes
// schema, network, image_size, classes, classes_crc32c, data_crc32c, epoch, step, settings and results (JSON). Written
// beside, flushed, renamed.
// Each array's CRC32C is an attribute of its dataset: a damaged checkpoint is refused, never loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "net/graph.h"

namespace packhorse {

inline constexpr const char* kCheckpointSchema = "packhorse/checkpoint/1";

struct CheckpointInfo {
  std::string network;
  int64_t image_size = 0, classes = 0;
  std::string classes_crc32c;
  std::string data_crc32c;         ///< of the shards it was trained on; empty where nobody said
  int64_t epoch = 0;               ///< whole passes finished
  int64_t step = 0;                ///< steps finished since the beginning
  Json settings = Json::object();  ///< the training stage's settings
  Json results = Json::object();   ///< validation accuracy where known: {"top1": ..., "top5": ..., "loss": ...}
};

void save_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const Graph& graph,
                     std::span<const float> parameters, std::span<const float> statistics,
                     std::span<const float> momentum);

/// The attributes only; cheap. Throws DamageError for a file that is not a whole checkpoint.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& path);

/// Fills the arrays (momentum may be empty: skipped); throws where network, shapes or classes differ from the graph's.
void load_checkpoint(const std::filesystem::path& path, const Graph& graph, std::span<float> parameters,
                     std::span<float> statistics, std::span<float> momentum);

}  // namespace packhorse

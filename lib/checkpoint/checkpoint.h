// The whole state of training in one HDF5 file: weights, statistics, the optimizer's arrays, the counters, and the
// network, data and settings that they belong to.
//
// Layout: /state/ARRAY/NAME, f32. ARRAY is `weights`, `statistics` or an array of the optimizer (`momentum`); NAME is a
// parameter's or a statistic's, with its shape. Root attributes: schema, network, image_size, classes, classes_crc32c,
// data_crc32c, resampling, epoch, batches_taken, updates_applied, loss_scale, and as JSON settings,
// epoch_so_far and results; /choices is one text, JSON as well. Older schemas are read, too (checkpoint/schemas.h). The
// file is written under a temporary name in the same folder, flushed, then renamed. The CRC32C of each array is an
// attribute of its dataset: a damaged checkpoint is refused, never loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/json.h"
#include "checkpoint/schemas.h"
#include "net/graph.h"

namespace packhorse {

struct CheckpointInfo {
  std::string network;
  int64_t image_size = 0, classes = 0;
  std::string classes_crc32c;
  std::string data_crc32c;             ///< of the shards that it was trained on; empty if unknown
  std::string resampling;              ///< how images became its input: kResampling of the version that wrote it
  int64_t epoch = 0;                   ///< finished epochs
  int64_t batches_taken = 0;           ///< since training began: sample order and learning rate follow it
  int64_t updates_applied = 0;         ///< to the weights: fewer than batches_taken if updates were skipped
  double loss_scale = 1;               ///< factor of the loss in the backward pass
  int64_t updates_at_loss_scale = 0;   ///< since it changed
  Json choices = Json::object();       ///< made by measurement, by choice_key() (ops/choices.h)
  Json settings = Json::object();      ///< the training stage's settings
  Json epoch_so_far = Json::object();  ///< totals of the steps since the epoch began; nothing at its end
  Json results = Json::object();       ///< validation accuracy if known: {"top1": ..., "top5": ..., "loss": ...}
};

/// One array of the state: a flat array over the graph's parameters, or over its statistics.
template <typename Float>
struct StateArrayOf {
  std::string name;         ///< "weights", "momentum", "statistics"
  std::span<Float> values;  ///< (Graph::parameter_count) or (Graph::statistic_count)
  bool by_statistic = false;
};
using StateArray = StateArrayOf<const float>;
using StateBuffer = StateArrayOf<float>;  ///< to be filled

void save_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const Graph& graph,
                     std::span<const StateArray> state);

/// Reads only the attributes, which is fast; those of an older schema come as today's. Throws a DamageError if the file
/// is not a whole checkpoint, an Error if its schema is newer.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& path);

/// Fills the arrays of `state`; the file's other arrays are not read. Throws if the network, the shapes or the classes
/// are not the graph's, or if the file lacks an array.
void load_checkpoint(const std::filesystem::path& path, const Graph& graph, std::span<const StateBuffer> state);

}  // namespace packhorse

#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/schema.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {
namespace {

constexpr const char* kOlder =
    "use an older checkpoint of the same run; train continues from the newest sound one by itself";

std::string crc_of(std::span<const float> values) { return crc32c_text(crc32c(std::as_bytes(values))); }

void write_array(Hdf5Writer& file, const std::string& name, std::span<const float> values,
                 const std::vector<int64_t>& shape) {
  file.write(name, values, shape);
  file.attribute(name, "crc32c", crc_of(values));
}

void read_array(const Hdf5Reader& file, const std::string& name, std::span<float> dst,
                const std::vector<int64_t>& shape, const std::string& where) {
  if (!file.has(name) || file.shape(name) != shape) {
    throw Error({"the checkpoint has no array of the shape that the network needs", where + ": /" + name,
                 "train again: it was edited, or written by another version"});
  }
  const std::vector<float> values = file.floats(name);
  if (values.size() != dst.size() || file.text_attribute(name, "crc32c") != crc_of(values))
    throw DamageError({"the array does not match its checksum", where + ": /" + name, kOlder});
  std::copy(values.begin(), values.end(), dst.begin());
}

void check_lengths(const Graph& graph, size_t parameters, size_t statistics, size_t momentum) {
  if (parameters != graph.parameter_count || statistics != graph.statistic_count ||
      (momentum != 0 && momentum != graph.parameter_count))
    throw Error({"the arrays do not have the lengths that the network needs", graph.name, ""});
}

std::vector<int64_t> shape_of(const Statistic& statistic) { return {static_cast<int64_t>(statistic.count)}; }

CheckpointInfo info_from(const Hdf5Reader& file, const std::string& where) {
  check_schema(file.has_attribute("", "schema") ? file.text_attribute("", "schema") : "", kCheckpointSchema,
               "a checkpoint", where,
               "give a file that packhorse-train wrote (checkpoints/step-....h5), or train again");
  CheckpointInfo info;
  info.network = file.text_attribute("", "network");
  info.image_size = file.integer_attribute("", "image_size");
  info.classes = file.integer_attribute("", "classes");
  info.classes_crc32c = file.text_attribute("", "classes_crc32c");
  info.data_crc32c = file.text_attribute("", "data_crc32c");
  info.epoch = file.integer_attribute("", "epoch");
  info.step = file.integer_attribute("", "step");
  try {
    info.settings = Json::parse(file.text_attribute("", "settings"));
    info.results = Json::parse(file.text_attribute("", "results"));
  } catch (const Json::exception& error) {
    throw DamageError(
        {std::string("the settings or results are not valid JSON (") + error.what() + ")", where, kOlder});
  }
  return info;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const Graph& graph,
                     std::span<const float> parameters, std::span<const float> statistics,
                     std::span<const float> momentum) {
  check_lengths(graph, parameters.size(), statistics.size(), momentum.size());
  Hdf5Writer file(path);
  file.attribute("", "schema", std::string(kCheckpointSchema));
  file.attribute("", "network", info.network);
  file.attribute("", "image_size", info.image_size);
  file.attribute("", "classes", info.classes);
  file.attribute("", "classes_crc32c", info.classes_crc32c);
  file.attribute("", "data_crc32c", info.data_crc32c);
  file.attribute("", "epoch", info.epoch);
  file.attribute("", "step", info.step);
  file.attribute("", "settings", info.settings.dump());
  file.attribute("", "results", info.results.dump());
  for (const Parameter& parameter : graph.parameters) {
    write_array(file, "parameters/" + parameter.name, parameters.subspan(parameter.offset, parameter.count),
                parameter.shape);
    if (momentum.empty()) continue;
    write_array(file, "momentum/" + parameter.name, momentum.subspan(parameter.offset, parameter.count),
                parameter.shape);
  }
  for (const Statistic& statistic : graph.statistics) {
    write_array(file, "statistics/" + statistic.name, statistics.subspan(statistic.offset, statistic.count),
                shape_of(statistic));
  }
  file.commit();
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path) {
  const Hdf5Reader file(path);
  return info_from(file, path.string());
}

void load_checkpoint(const std::filesystem::path& path, const Graph& graph, std::span<float> parameters,
                     std::span<float> statistics, std::span<float> momentum) {
  check_lengths(graph, parameters.size(), statistics.size(), momentum.size());
  const Hdf5Reader file(path);
  const std::string where = path.string();
  const CheckpointInfo info = info_from(file, where);
  if (info.network != graph.name || info.classes != graph.classes) {
    throw Error({"the checkpoint is for " + info.network + " with " + std::to_string(info.classes) +
                     " classes, not for " + graph.name + " with " + std::to_string(graph.classes),
                 where, "use the network and the class table that it was trained with"});
  }
  for (const Parameter& parameter : graph.parameters) {
    read_array(file, "parameters/" + parameter.name, parameters.subspan(parameter.offset, parameter.count),
               parameter.shape, where);
    if (momentum.empty()) continue;
    read_array(file, "momentum/" + parameter.name, momentum.subspan(parameter.offset, parameter.count), parameter.shape,
               where);
  }
  for (const Statistic& statistic : graph.statistics) {
    read_array(file, "statistics/" + statistic.name, statistics.subspan(statistic.offset, statistic.count),
               shape_of(statistic), where);
  }
}

}  // namespace packhorse

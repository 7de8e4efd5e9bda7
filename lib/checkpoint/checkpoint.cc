#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/crc32c.h"
#include "base/error.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {
namespace {

constexpr const char* kOlder =
    "use an older checkpoint of the same run; train continues from the newest sound one by itself";

std::string crc_of(std::span<const float> values) { return crc32c_text(crc32c(std::as_bytes(values))); }

/// A parameter's or a statistic's range of one array of the state, as the file has it.
template <typename Float>
struct Stored {
  std::string name;
  std::vector<int64_t> shape;
  std::span<Float> values;
};

void write_array(Hdf5Writer& file, const Stored<const float>& array) {
  file.write(array.name, array.values, array.shape);
  file.attribute(array.name, "crc32c", crc_of(array.values));
}

void read_array(const Hdf5Reader& file, const Stored<float>& array, const std::string& where) {
  if (!file.has(array.name) || file.shape(array.name) != array.shape) {
    throw Error({"the checkpoint has no array of the shape that the network needs", where + ": /" + array.name,
                 "train again: it was edited, or written by another version"});
  }
  const std::vector<float> values = file.floats(array.name);
  if (values.size() != array.values.size() || file.text_attribute(array.name, "crc32c") != crc_of(values))
    throw DamageError({"the array does not match its checksum", where + ": /" + array.name, kOlder});
  std::copy(values.begin(), values.end(), array.values.begin());
}

template <typename Float>
void check_lengths(const Graph& graph, std::span<const StateArrayOf<Float>> state) {
  for (const StateArrayOf<Float>& array : state) {
    if (array.values.size() != (array.by_statistic ? graph.statistic_count : graph.parameter_count))
      throw Error({"the array '" + array.name + "' does not have the length that the network needs", graph.name, ""});
  }
}

template <typename Float>
std::vector<Stored<Float>> stored(const Graph& graph, const StateArrayOf<Float>& array, const std::string& group) {
  std::vector<Stored<Float>> all;
  const auto add = [&](const auto& part, const std::vector<int64_t>& shape) {
    all.push_back({group + "/" + part.name, shape, array.values.subspan(part.offset, part.count)});
  };
  if (array.by_statistic) {
    for (const Statistic& statistic : graph.statistics) add(statistic, {static_cast<int64_t>(statistic.count)});
  } else {
    for (const Parameter& parameter : graph.parameters) add(parameter, parameter.shape);
  }
  return all;
}

size_t schema_of(const Hdf5Reader& file, const std::string& where) {
  return checkpoint_schema_number(file.has_attribute("", "schema") ? file.text_attribute("", "schema") : "", where);
}

void read_counters(const Hdf5Reader& file, size_t schema, CheckpointInfo& info) {
  info.epoch = file.integer_attribute("", "epoch");
  if (has_one_counter(schema)) {
    info.batches_taken = info.updates_applied = file.integer_attribute("", "step");
    return;
  }
  info.batches_taken = file.integer_attribute("", "batches_taken");
  info.updates_applied = file.integer_attribute("", "updates_applied");
  info.loss_scale = file.real_attribute("", "loss_scale");
  if (file.has_attribute("", "updates_at_loss_scale"))  // not in the first files of schema 3
    info.updates_at_loss_scale = file.integer_attribute("", "updates_at_loss_scale");
}

// An attribute holds 64 kB, and a large network on a GPU has more choices than that. The first files of schema 3, which
// had none, have an attribute.
std::string choices_text(const Hdf5Reader& file) {
  if (file.has_attribute("", "choices")) return file.text_attribute("", "choices");
  const std::vector<std::string> text = file.strings("choices");
  return text.empty() ? "" : text.front();
}

// What no training writes.
void check_ranges(const CheckpointInfo& info, const std::string& where) {
  constexpr int64_t kMost = int64_t{1} << 48;  // steps, epochs: more than any training takes
  const auto check = [&](bool sound, const char* what, int64_t value) {
    if (!sound) throw DamageError({std::string(what) + " " + std::to_string(value) + " cannot be", where, kOlder});
  };
  const auto counts = [&](const char* what, int64_t value) { check(value >= 0 && value <= kMost, what, value); };
  counts("an epoch of", info.epoch);
  counts("a number of batches of", info.batches_taken);
  counts("a number of updates of", info.updates_applied);
  counts("a number of updates of", info.updates_at_loss_scale);
  check(info.updates_applied <= info.batches_taken, "more updates than batches:", info.updates_applied);
  check(info.image_size >= 1 && info.image_size <= 1024, "an image size of", info.image_size);
  check(info.classes >= 1 && info.classes <= (1 << 24), "a number of classes of", info.classes);
  if (!(info.loss_scale > 0 && info.loss_scale <= 16777216))
    throw DamageError({"a loss scale of " + std::to_string(info.loss_scale) + " cannot be", where, kOlder});
}

CheckpointInfo info_from(const Hdf5Reader& file, const std::string& where) {
  const size_t schema = schema_of(file, where);
  CheckpointInfo info;
  info.network = file.text_attribute("", "network");
  info.image_size = file.integer_attribute("", "image_size");
  info.classes = file.integer_attribute("", "classes");
  info.classes_crc32c = file.text_attribute("", "classes_crc32c");
  info.data_crc32c = file.text_attribute("", "data_crc32c");
  const bool states_resampling = file.has_attribute("", "resampling");  // not in the first files of schema 3
  info.resampling = states_resampling ? file.text_attribute("", "resampling") : kResamplingBefore;
  read_counters(file, schema, info);
  check_ranges(info, where);
  try {
    if (has_choices(schema)) info.choices = Json::parse(choices_text(file));
    info.settings = todays_settings(schema, Json::parse(file.text_attribute("", "settings")));
    info.results = Json::parse(file.text_attribute("", "results"));
    if (file.has_attribute("", "epoch_so_far"))  // not in the first files of schema 3
      info.epoch_so_far = Json::parse(file.text_attribute("", "epoch_so_far"));
  } catch (const Json::exception& error) {
    throw DamageError(
        {std::string("the settings, results or choices are not valid JSON (") + error.what() + ")", where, kOlder});
  }
  return info;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const Graph& graph,
                     std::span<const StateArray> state) {
  check_lengths(graph, state);
  Hdf5Writer file(path);
  file.attribute("", "schema", std::string(kCheckpointSchema));
  file.attribute("", "network", info.network);
  file.attribute("", "image_size", info.image_size);
  file.attribute("", "classes", info.classes);
  file.attribute("", "classes_crc32c", info.classes_crc32c);
  file.attribute("", "data_crc32c", info.data_crc32c);
  file.attribute("", "resampling", info.resampling);
  file.attribute("", "epoch", info.epoch);
  file.attribute("", "batches_taken", info.batches_taken);
  file.attribute("", "updates_applied", info.updates_applied);
  file.attribute("", "loss_scale", info.loss_scale);
  file.attribute("", "updates_at_loss_scale", info.updates_at_loss_scale);
  file.write("choices", std::vector{info.choices.dump()});
  file.attribute("", "settings", info.settings.dump());
  file.attribute("", "epoch_so_far", info.epoch_so_far.dump());
  file.attribute("", "results", info.results.dump());
  for (const StateArray& array : state) {
    const std::string group = state_group(kCheckpointSchemas.size(), array.name);
    for (const auto& part : stored(graph, array, group)) write_array(file, part);
  }
  file.commit();
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path) {
  const Hdf5Reader file(path);
  return info_from(file, path.string());
}

void load_checkpoint(const std::filesystem::path& path, const Graph& graph, std::span<const StateBuffer> state) {
  check_lengths(graph, state);
  const Hdf5Reader file(path);
  const std::string where = path.string();
  const CheckpointInfo info = info_from(file, where);
  if (info.network != graph.name || info.classes != graph.classes) {
    throw Error({"the checkpoint is for " + info.network + " with " + std::to_string(info.classes) +
                     " classes, not for " + graph.name + " with " + std::to_string(graph.classes),
                 where, "use the network and the class table that it was trained with"});
  }
  const size_t schema = schema_of(file, where);
  for (const StateBuffer& array : state) {
    for (const auto& part : stored(graph, array, state_group(schema, array.name))) read_array(file, part, where);
  }
}

}  // namespace packhorse

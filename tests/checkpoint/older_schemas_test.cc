// Checkpoints that older versions wrote are read as if today's had written them. tests/checkpoint/files/README.md says
// how the files were made.
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "checkpoint/checkpoint.h"
#include "hdf5/hdf5_file.h"
#include "support/state_arrays.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

class OlderCheckpoint : public ::testing::TestWithParam<int> {
 protected:
  OlderCheckpoint()
      : path_(test::source_path("tests/checkpoint/files/schema-" + std::to_string(GetParam()) + ".h5")),
        graph_(make_network("inception-bn-small", 16, 10)),
        weights_(graph_.parameter_count),
        statistics_(graph_.statistic_count),
        momentum_(graph_.parameter_count) {}

  std::vector<StateBuffer> arrays() {
    return {{"weights", weights_}, {"statistics", statistics_, true}, {"momentum", momentum_}};
  }
  /// The values of a parameter or a statistic.
  template <typename Part>
  static std::span<const float> part(const std::vector<float>& array, const Part& part) {
    return std::span(array).subspan(part.offset, part.count);
  }
  static std::string crc_of(std::span<const float> values) { return crc32c_text(crc32c(std::as_bytes(values))); }

  const std::filesystem::path path_;
  const Graph graph_;
  std::vector<float> weights_, statistics_, momentum_;
};

TEST_P(OlderCheckpoint, StatesItsSchema) {
  EXPECT_EQ(Hdf5Reader(path_).text_attribute("", "schema"), "packhorse/checkpoint/" + std::to_string(GetParam()));
}

TEST_P(OlderCheckpoint, HasAllArraysUnderTodaysNames) {
  load_checkpoint(path_, graph_, arrays());
  const Hdf5Reader file(path_);
  for (const Parameter& parameter : graph_.parameters) {
    EXPECT_EQ(crc_of(part(weights_, parameter)), file.text_attribute("parameters/" + parameter.name, "crc32c"));
    EXPECT_EQ(crc_of(part(momentum_, parameter)), file.text_attribute("momentum/" + parameter.name, "crc32c"));
  }
  for (const Statistic& statistic : graph_.statistics)
    EXPECT_EQ(crc_of(part(statistics_, statistic)), file.text_attribute("statistics/" + statistic.name, "crc32c"));
  // What h5dump shows of the files.
  const Parameter& first = graph_.parameters.front();
  EXPECT_EQ(first.name, "conv1/conv/weight");
  EXPECT_FLOAT_EQ(weights_.at(first.offset), 0.103853375F);
  const Parameter& last = graph_.parameters.back();
  EXPECT_EQ(last.name, "fc/bias");
  EXPECT_FLOAT_EQ(momentum_.at(last.offset), 0.271018505F);
  EXPECT_EQ(graph_.statistics.front().name, "conv1/bn/mean");
  EXPECT_FLOAT_EQ(statistics_.front(), 0.0281507671F);
}

TEST_P(OlderCheckpoint, HasTodaysCountersAndSettings) {
  const CheckpointInfo info = read_checkpoint_info(path_);
  EXPECT_EQ(info.network, "inception-bn-small");
  EXPECT_EQ(info.image_size, 16);
  EXPECT_EQ(info.classes, 10);
  EXPECT_EQ(info.epoch, 0);
  EXPECT_EQ(info.batches_taken, 2);
  EXPECT_EQ(info.updates_applied, 2);
  EXPECT_EQ(info.loss_scale, 1);
  EXPECT_EQ(info.resampling, "dct-triangle/1");
  EXPECT_EQ(info.choices, Json::object());
  EXPECT_EQ(info.settings.at("opt"), "sgd");
  EXPECT_EQ(info.settings.at("sched"), "multistep");
  EXPECT_EQ(info.settings.at("hflip"), 0);
  EXPECT_EQ(info.settings.at("milestones"), Json::array({"1"}));
  for (const char* name : {"mirror", "schedule"}) EXPECT_FALSE(info.settings.contains(name)) << name;
  EXPECT_EQ(info.results.at("images"), 10);
}

TEST_P(OlderCheckpoint, WrittenAgainIsOfTodaysSchemaAndHasTheSameBits) {
  load_checkpoint(path_, graph_, arrays());
  const std::vector<float> weights = weights_, statistics = statistics_, momentum = momentum_;
  const test::TempDir folder;
  save_checkpoint(folder / "new.h5", read_checkpoint_info(path_), graph_, test::to_save(arrays()));
  EXPECT_EQ(Hdf5Reader(folder / "new.h5").text_attribute("", "schema"), "packhorse/checkpoint/3");
  EXPECT_FALSE(Hdf5Reader(folder / "new.h5").has("parameters"));
  for (auto* array : {&weights_, &statistics_, &momentum_}) std::fill(array->begin(), array->end(), 0.0F);
  load_checkpoint(folder / "new.h5", graph_, arrays());
  EXPECT_EQ(weights_, weights);
  EXPECT_EQ(statistics_, statistics);
  EXPECT_EQ(momentum_, momentum);
  EXPECT_EQ(read_checkpoint_info(folder / "new.h5").settings, read_checkpoint_info(path_).settings);
}

INSTANTIATE_TEST_SUITE_P(Schemas, OlderCheckpoint, ::testing::Values(1, 2));

TEST(CheckpointSchemas, TheirNumbersAreTheirPlaces) {
  for (size_t i = 0; i < kCheckpointSchemas.size(); ++i) {
    EXPECT_EQ(kCheckpointSchemas[i], "packhorse/checkpoint/" + std::to_string(i + 1));
    EXPECT_EQ(checkpoint_schema_number(kCheckpointSchemas[i], "here"), i + 1);
  }
}

TEST(CheckpointSchemas, SettingsOf01AreTranslated) {
  const Json old = {{"lr", 0.1}, {"schedule", "steps"}, {"mirror", true}, {"backend", "onednn"}};
  const Json now = {{"lr", 0.1}, {"hflip", 0.5}, {"sched", "multistep"}, {"backend", "cpu"}, {"opt", "sgd"}};
  EXPECT_EQ(Json(todays_settings(1, old)), now);
  const Json others = {{"schedule", "cosine"}, {"mirror", false}, {"backend", "reference"}};
  EXPECT_EQ(Json(todays_settings(1, others)),
            Json({{"hflip", 0.0}, {"sched", "cosine"}, {"backend", "reference"}, {"opt", "sgd"}}));
  for (const size_t schema : {2, 3}) EXPECT_EQ(todays_settings(schema, now), now) << schema;
}

}  // namespace
}  // namespace packhorse

#include "results/predictions.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "hdf5/hdf5_file.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

const ClassTable kClasses({{"n02774152", "bag, handbag"}, {"n03236735", "dress, frock"}, {"plain", ""}});

/// One image that was read and one that was not.
Predictions two() {
  Predictions predictions;
  predictions.list.push_back({"a/good.jpg", 40, 30, "", {{1, 0.75}, {2, 0.25}}});
  predictions.list.push_back({"a/bad.jpg", 0, 0, "not a sound JPEG", {}});
  predictions.features = {1, 2, 3, 0, 0, 0};
  predictions.unread = 1;
  predictions.resampling = "triangle/1";
  return predictions;
}

TEST(Predictions, TextHasALineForEachChoice) {
  const std::string text = predictions_text(two(), kClasses);
  EXPECT_NE(text.find("a/good.jpg (40 x 30)\n"), std::string::npos) << text;
  EXPECT_NE(text.find(" 75.0 %  ###############"), std::string::npos) << text;
  EXPECT_NE(text.find("n03236735  dress, frock"), std::string::npos) << text;
  EXPECT_EQ(text.find("bad.jpg"), std::string::npos) << "it has no choices; a warning names it";
}

TEST(Predictions, JsonHasItsSchemaAndEveryImage) {
  const Json json = Json::parse(predictions_json(two(), kClasses));
  EXPECT_EQ(json["schema"], kPredictionsSchema);
  EXPECT_EQ(json["resampling"], "triangle/1");
  ASSERT_EQ(json["predictions"].size(), 2u);
  const Json& good = json["predictions"][0];
  EXPECT_EQ(good["width"], 40);
  EXPECT_EQ(good["predictions"][0],
            (Json{{"id", "n03236735"}, {"name", "dress"}, {"label", 1}, {"probability", 0.75}}));
  EXPECT_EQ(good["predictions"][1]["name"], "plain") << "a class without names goes by its id";
  EXPECT_EQ(json["predictions"][1]["problem"], "not a sound JPEG");
  EXPECT_FALSE(json["predictions"][1].contains("predictions"));
}

TEST(Predictions, APathThatIsNotUtf8StillGivesValidJson) {
  Predictions predictions = two();
  predictions.list[0].path = "caf\xe9.jpg";
  EXPECT_EQ(Json::parse(predictions_json(predictions, kClasses))["predictions"][0]["image"], "caf%E9.jpg");
}

TEST(Predictions, FeaturesHaveARowForEachImage) {
  const test::TempDir folder;
  write_features(folder / "features.h5", two(), "resnet-50");
  const Hdf5Reader reader(folder / "features.h5");
  EXPECT_EQ(reader.text_attribute("", "schema"), kFeaturesSchema);
  EXPECT_EQ(reader.text_attribute("features", "network"), "resnet-50");
  EXPECT_EQ(reader.text_attribute("features", "resampling"), "triangle/1");
  EXPECT_EQ(reader.shape("features"), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(reader.floats("features"), (std::vector<float>{1, 2, 3, 0, 0, 0}));
  EXPECT_EQ(reader.strings("images"), (std::vector<std::string>{"a/good.jpg", "a/bad.jpg"}));
  EXPECT_EQ(reader.integers("read"), (std::vector<int64_t>{1, 0}));
}

}  // namespace
}  // namespace packhorse

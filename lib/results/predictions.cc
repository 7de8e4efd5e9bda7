#include "results/predictions.h"

#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/core.h>

#include "base/json.h"
#include "base/path_text.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {
namespace {

Json json_of(const Prediction& prediction, const ClassTable& classes) {
  Json entry = {{"image", text_of_path(prediction.path)}};
  if (!prediction.problem.empty()) {
    entry["problem"] = prediction.problem;
    return entry;
  }
  entry["width"] = prediction.width;
  entry["height"] = prediction.height;
  entry["predictions"] = Json::array();
  for (const ScoredClass& best : prediction.best) {
    entry["predictions"].push_back({{"id", classes[best.label].id},
                                    {"name", classes.short_name(best.label)},
                                    {"label", best.label},
                                    {"probability", best.probability}});
  }
  return entry;
}

}  // namespace

std::string predictions_text(const Predictions& predictions, const ClassTable& classes) {
  constexpr int kBar = 20;  // length of the bar for probability 1, in characters
  std::string text;
  for (const Prediction& prediction : predictions.list) {
    if (prediction.best.empty()) continue;
    text += fmt::format("{} ({} x {})\n", prediction.path.string(), prediction.width, prediction.height);
    size_t widest = 0;
    for (const ScoredClass& best : prediction.best) widest = std::max(widest, classes[best.label].id.size());
    for (const ScoredClass& best : prediction.best) {
      const auto length = static_cast<size_t>(std::lround(kBar * best.probability));
      text += fmt::format("  {:5.1f} %  {:<{}}  {:<{}}  {}\n", 100 * best.probability, std::string(length, '#'), kBar,
                          classes[best.label].id, widest, classes[best.label].names);
    }
  }
  return text;
}

std::string predictions_json(const Predictions& predictions, const ClassTable& classes) {
  Json list = Json::array();
  for (const Prediction& prediction : predictions.list) list.push_back(json_of(prediction, classes));
  const Json json = {{"schema", kPredictionsSchema}, {"resampling", predictions.resampling}, {"predictions", list}};
  // What is wrong with a file may repeat a name that is no text.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_features(const std::filesystem::path& path, const Predictions& predictions, const std::string& network) {
  Hdf5Writer writer(path);
  std::vector<std::string> names;
  std::vector<uint8_t> read;
  for (const Prediction& prediction : predictions.list) {
    names.push_back(prediction.path.string());
    read.push_back(prediction.problem.empty() ? 1 : 0);
  }
  const auto rows = static_cast<int64_t>(names.size());
  writer.attribute("", "schema", std::string(kFeaturesSchema));
  writer.write("features", std::span<const float>(predictions.features),
               {rows, static_cast<int64_t>(predictions.features.size()) / rows});
  writer.attribute("features", "about",
                   std::string("the network's last layer before the classifier, one row per image"));
  writer.attribute("features", "network", network);
  writer.attribute("features", "resampling", predictions.resampling);
  writer.write("images", names);
  writer.write("read", std::span<const uint8_t>(read), {rows});
  writer.attribute("read", "about", std::string("0: the image could not be read, its row is zeros"));
  writer.commit();
}

}  // namespace packhorse

// Predictions for single images: as text, as JSON, and their features as an HDF5 file.
//
// features.h5: root attribute schema; /features (N, C) f32 with attributes network and resampling, the network's last
// layer before the classifier, one row per image; /images, their paths; /read, 0 for an image that could not be read
// (its row is zeros).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "classes/class_table.h"
#include "metrics/top_k.h"

namespace packhorse {

inline constexpr const char* kPredictionsSchema = "packhorse/predictions/1";
inline constexpr const char* kFeaturesSchema = "packhorse/features/1";

struct Prediction {
  std::filesystem::path path;
  int width = 0, height = 0;
  std::string problem;            ///< why the image could not be read; empty if it was read
  std::vector<ScoredClass> best;  ///< most likely first
};

struct Predictions {
  std::vector<Prediction> list;
  std::vector<float> features;  ///< (N, C); zeros for an image that could not be read
  size_t unread = 0;            ///< number of images that could not be read
  std::string resampling;       ///< how images became the network's input: kResampling (image/resample.h)
};

/// For each image a line with its path and size, then a line with a bar for each class.
std::string predictions_text(const Predictions& predictions, const ClassTable& classes);

/// {"schema": ..., "resampling": ..., "predictions": [{"image", "width", "height", "predictions": [...]} or {"image",
/// "problem"}, ...]}
std::string predictions_json(const Predictions& predictions, const ClassTable& classes);

void write_features(const std::filesystem::path& path, const Predictions& predictions, const std::string& network);

}  // namespace packhorse

// The demo's data: Fashion-MNIST in the form of the ImageNet release, so that the demo runs the same code as real data.
// train.tar is a tar of class tars named by WordNet id, with JPEG files as members; validation.tar is flat and has a
// ground-truth file next to it.
//
// Rule: the bytes depend only on the source and the settings. demo-data.json, written last, records what was made.
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"

namespace packhorse {

struct DemoDataOptions {
  std::string source = "/usr/share/datasets/fashion-mnist";  ///< folder of the gzipped IDX files
  int train_per_class = 6000, validation_per_class = 1000;   ///< images of each class
};

/// Makes the data in `folder`, or does nothing if it already holds the data of the same `settings`. Returns the last
/// line to print.
std::string make_demo_data(const std::filesystem::path& folder, const DemoDataOptions& options, const Json& settings);

}  // namespace packhorse

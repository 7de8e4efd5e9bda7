// The demo's data: Fashion-MNIST in the form of the ImageNet release, so that the demo walks the real way. train.tar is
// a tar of class tars named by WordNet id, their members JPEG files; validation.tar is flat and has a ground-truth file
// beside it.
//
// Rule: the bytes depend on the source and the settings alone. demo-data.json, written last, says what was made.
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"

namespace packhorse {

struct DemoDataOptions {
  std::string source = "/usr/share/datasets/fashion-mnist";  ///< folder of the gzipped IDX files
  int train_per_class = 6000, validation_per_class = 1000;   ///< images of each class
};

/// Makes the data in `folder`, or does nothing if they are there already with the same `settings`. Returns the last
/// line.
std::string make_demo_data(const std::filesystem::path& folder, const DemoDataOptions& options, const Json& settings);

}  // namespace packhorse

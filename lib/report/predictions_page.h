// The page of predictions: each image with its most likely classes.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "classes/class_table.h"
#include "results/predictions.h"

namespace packhorse {

/// Reads the bytes of the i-th image, which may be in an archive.
using ReadPredicted = std::function<std::vector<std::byte>(size_t i)>;

/// One self-contained HTML file. `about` is the line below the title.
std::string predictions_page(const Predictions& predictions, const ClassTable& classes, const std::string& about,
                             const ReadPredicted& read);

}  // namespace packhorse

// The page of predictions: each image with its most likely classes.
#pragma once

#include <string>

#include "classes/class_table.h"
#include "results/predictions.h"

namespace packhorse {

/// One self-contained HTML file. `about` is the line below the title.
std::string predictions_page(const Predictions& predictions, const ClassTable& classes, const std::string& about);

}  // namespace packhorse

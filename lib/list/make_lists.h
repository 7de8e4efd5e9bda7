// From sources to lists: the images of a data set, split and shuffled, and the table of their classes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "classes/class_table.h"
#include "list/split.h"
#include "source/source.h"

namespace packhorse {

/// What to list. Paths are absolute, or empty if not given.
struct ListPlan {
  std::filesystem::path train_source, validation_source;
  std::filesystem::path ground_truth;  ///< classes of the validation source's images
  std::filesystem::path classes;       ///< the table that fixes the labels; if empty, the ids found, sorted
  std::filesystem::path wordnet;       ///< data.noun, for the names of classes that are WordNet ids
  ValidationSplit split;               ///< used only without a validation source
  uint64_t seed = 0;
};

struct MadeLists {
  ClassTable classes;
  Lists lists;  ///< shuffled and numbered
  Skipped skipped_train, skipped_validation;
  uint64_t found = 0;                   ///< entries in both sources: listed + skipped
  uint64_t classes_without_images = 0;  ///< classes of the table without a training image
};

MadeLists make_lists(const ListPlan& plan);

}  // namespace packhorse

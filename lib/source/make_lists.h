// What the list stage does, whole: sources in, lists and the class table out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "manifest/class_table.h"
#include "manifest/image_list.h"
#include "source/arrange.h"

namespace packhorse {

/// Paths are absolute, or empty where there is none.
struct ListPlan {
  std::filesystem::path train_source, validation_source;
  std::filesystem::path ground_truth;  ///< classes of the validation source's pictures
  std::filesystem::path classes;       ///< the table that fixes labels; else the ids found, sorted
  std::filesystem::path wordnet;       ///< data.noun, for names of classes that are WordNet ids
  Split split;                         ///< where there is no validation source
  uint64_t seed = 0;
};

struct Listed {
  ClassTable classes;
  Lists lists;  ///< shuffled and numbered
  std::string train_kind, validation_kind;
  std::map<std::string, uint64_t> skipped;
  uint64_t classes_without_picture = 0;  ///< of the table, in the training list
};

Listed make_lists(const ListPlan& plan);

}  // namespace packhorse

// The class choice: which classes a prediction may be chosen from (all, those of a list, or those under a WordNet
// synset), and how the classes of two tables correspond.
//
// Rule: classes of two tables are matched by id, never by number; classes without a counterpart are named and counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "classes/class_table.h"
#include "manifest/stage.h"
#include "metrics/top_k.h"

namespace packhorse {

struct ClassChoice {
  ClassSet set;
  std::string title;                 ///< "all 21,841 classes", "the 999 classes of ilsvrc2012.tsv"
  std::vector<std::string> missing;  ///< ids of the list that the table does not have
};

ClassChoice all_classes(const ClassTable& table);

/// The classes of a text file: lines of a class table (`index TAB id TAB names`), or lines that begin with an id. Empty
/// lines and lines that begin with # are skipped.
ClassChoice listed_classes(const ClassTable& table, const std::filesystem::path& list);

/// The classes whose ids are under a WordNet id, or are that id.
ClassChoice classes_under(const ClassTable& table, const std::string& root);

/// The choice that a stage's settings `subset` (a list's path) and `under` (a WordNet id) make; nothing if both are
/// empty. The list becomes one of the stage's inputs.
std::optional<ClassChoice> chosen_classes(Stage& stage, const std::string& subset, const std::string& under,
                                          const ClassTable& table);

/// For each class of `from` its label in `to`, or -1 if `to` does not have the class.
std::vector<int64_t> label_map(const ClassTable& from, const ClassTable& to);

}  // namespace packhorse

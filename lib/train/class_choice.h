// Which classes an answer may be chosen from: all, those of a list, or those under a WordNet synset; and how classes of
// two tables correspond.
//
// Rule: classes go by id, never by number, from one table to another; what has no counterpart is named and counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "manifest/class_table.h"
#include "manifest/stage.h"
#include "metrics/top_k.h"

namespace packhorse {

struct NamedChoice {
  ClassChoice choice;
  std::string title;                 ///< "all 21,841 classes", "the 999 classes of ilsvrc2012.tsv"
  std::vector<std::string> missing;  ///< ids asked for that the table does not have
};

NamedChoice all_classes(const ClassTable& table);

/// The classes of a text file: a class table's lines (`index TAB id TAB names`), or lines that begin with an id. Empty
/// lines and lines that begin with # are skipped.
NamedChoice listed_classes(const ClassTable& table, const std::filesystem::path& list);

/// The classes whose ids lie under a WordNet id, itself included.
NamedChoice classes_under(const ClassTable& table, const std::string& root);

/// What a stage's settings `subset` (a list's path) and `under` (a WordNet id) choose: nothing where both are empty.
/// The list becomes one of the stage's inputs.
std::optional<NamedChoice> chosen_classes(Stage& stage, const std::string& subset, const std::string& under,
                                          const ClassTable& table);

/// The class table of a stage's outputs; throws unless its checksum is the given one.
ClassTable load_classes(const StageManifest& manifest, const std::string& crc32c);

/// For each class of `from` its number in `to`, -1 where it has none.
std::vector<int64_t> label_map(const ClassTable& from, const ClassTable& to);

/// The share of images whose first choice is right, or stands above or below the label in WordNet; -1 where WordNet or
/// its ids are not there.
double hierarchical_accuracy(const AccuracyCounters& counters, const ClassTable& table);

}  // namespace packhorse

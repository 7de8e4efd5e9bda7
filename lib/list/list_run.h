// The list stage: its settings, its plan, and the files that it writes.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"
#include "classes/wordnet.h"
#include "list/make_lists.h"
#include "manifest/stage.h"

namespace packhorse {

struct ListSettings {
  std::string train_source, validation_source, ground_truth, classes, wordnet = wordnet_nouns().string();
  ValidationSplit split;
  uint64_t seed = 1;

  void declare(Options& options);
};

/// Applies the settings of the description, makes paths absolute, and records the settings in the manifest. Throws a
/// UsageError if settings contradict each other.
ListPlan plan_lists(Stage& stage, ListSettings& settings);

/// What the stage would read, need and write.
StagePlan planned(const Stage& stage, const ListPlan& lists);

/// Lists, writes the lists, the class table and what was skipped, and finishes the stage. Returns the last line to
/// print.
std::string run_list(Stage& stage, const ListPlan& plan);

}  // namespace packhorse

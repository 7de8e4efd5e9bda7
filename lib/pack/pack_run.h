// The pack stage: its settings, its plan, and the run over all ranks.
//
// Rule: listed = packed + quarantined, or the stage does not finish.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "manifest/stage.h"
#include "pack/packed_list.h"
#include "pack/prepare.h"
#include "ranks/world.h"

namespace packhorse {

struct PackSettings {
  int shards = 8, validation_shards = 0;
  Preparation preparation;
  std::string check = "decode";
  double quarantine_limit = 0.001;
  std::string train_source, validation_source;
  int threads = 0;

  void declare(Options& options);
};

/// Reads and checks the lists and the class table, fills in the settings that were left open, and records the settings.
std::vector<PackedList> read_lists(Stage& stage, PackSettings& settings);

/// Images, disk, memory and time, estimated from a sample of the images.
StagePlan planned(const Stage& stage, const PackSettings& settings, const std::vector<PackedList>& lists,
                  const World& world);

/// Packs on all ranks and finishes the stage. Returns the last line to print on rank 0, an empty string elsewhere.
std::string run_pack(World& world, Stage& stage, const PackSettings& settings, const std::vector<PackedList>& lists);

}  // namespace packhorse

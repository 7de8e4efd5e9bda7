// The train stage around a run: what it reads from the manifest of pack, when a run is already finished, and what it
// records.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "classes/class_table.h"
#include "manifest/stage.h"
#include "ranks/world.h"
#include "train/training_run.h"

namespace packhorse {

/// Checks the settings and fills in the job from the manifest of pack. Returns the class table.
ClassTable settle_training(Stage& stage, const World& world, TrainingJob& job);

/// The last line of the run in the output folder, if it is finished and running again would give the same. A stage that
/// repeats its own manifest begins anew instead (sets job.restart).
std::optional<std::string> finished_result(Stage& stage, TrainingJob& job);

/// Opens the shards and trains; collective. Rank 0 prepares the output folder.
TrainingSummary train(World& world, const Stage& stage, const TrainingJob& job);

/// Records what came of it and finishes the stage, on rank 0. Returns the last line.
std::string finish_training(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks);

}  // namespace packhorse

// The train stage around a training run: reads the manifest of pack, recognises a finished run, and writes the manifest
// of train.
#pragma once

#include <optional>
#include <string>

#include "classes/class_table.h"
#include "manifest/stage.h"
#include "ranks/world.h"
#include "train/training_run.h"

namespace packhorse {

/// What all ranks prefer; f32, which every backend computes in, if one of them prefers it. Collective.
Dtype agreed_precision(World& world, Dtype preferred);

/// Collective. Checks the settings and fills in the job from the manifest of pack. Returns the class table.
ClassTable settle_training(Stage& stage, World& world, TrainingJob& job);

/// The result line of the run in the output folder, if that run is finished and running again would give the same
/// result. A stage that repeats its own manifest does run again.
std::optional<std::string> finished_result(Stage& stage, const TrainingJob& job);

/// What becomes of what is in the output folder: a finished run, or one that stopped and goes on.
PlannedReplacement planned_replacement(const Stage& stage, const TrainingJob& job);

/// Opens the shards and trains. Collective; rank 0 takes the output folder once all is checked. A run that is finished
/// there stays until this one is: this one works in the folder `unfinished` below, and begins with the first image, or
/// where that one ended if the settings are the same (a higher --limit-steps).
TrainingSummary train(World& world, Stage& stage, TrainingJob& job);

/// Records the results and writes the manifest, on rank 0. Returns the result line.
std::string finish_training(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks,
                            int threads);

}  // namespace packhorse

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
/// result. A stage that repeats its own manifest starts from the beginning instead (sets job.restart).
std::optional<std::string> finished_result(Stage& stage, TrainingJob& job);

/// Opens the shards and trains. Collective; rank 0 prepares the output folder.
TrainingSummary train(World& world, const Stage& stage, const TrainingJob& job);

/// Records the results and writes the manifest, on rank 0. Returns the result line.
std::string finish_training(Stage& stage, const TrainingSummary& summary, const ClassTable& classes, int ranks);

}  // namespace packhorse

// Which of several ways to compute the ranks of a training take: the same on all of them, before and after a resume.
#pragma once

#include "checkpoint/checkpoint_folder.h"
#include "net/graph.h"
#include "ops/choices.h"
#include "ops/executor.h"
#include "ranks/world.h"

namespace packhorse {

/// Rank 0 takes what the newest checkpoint states, then what former runs have measured, and measures the rest if the
/// options say so; all ranks get its choices. `checkpoints`: null for a training from the beginning. All ranks call it.
Choices agreed_choices(World& world, const Graph& graph, ExecutorOptions options, const CheckpointFolder* checkpoints);

}  // namespace packhorse

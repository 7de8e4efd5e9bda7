// A whole evaluation: every image through the network once, over all ranks, and what came of it.
//
// Rule: listed = images + outside + not_finite in every scope, or it is an error. The result is the same for any number
// of ranks: counts are whole numbers, and an image's logits do not depend on the others of its batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "classes/class_choice.h"
#include "infer/inference.h"
#include "ranks/world.h"
#include "record/shard_reader.h"
#include "results/evaluation.h"

namespace packhorse {

struct EvaluationJob {
  ClassTable classes;       ///< the network's
  ClassTable data_classes;  ///< those that the shards' labels mean
  std::optional<ClassChoice> subset;
  int64_t batch = 1;                   ///< images at a time, a rank
  int workers = 1;                     ///< threads that decode
  size_t samples = 24, mistakes = 12;  ///< single images kept
};

/// The feed that an evaluation reads from.
FeedOptions evaluation_feed(const Inference& inference, const World& world, const EvaluationJob& job, uint64_t images);

/// Logs what will be evaluated, the classes that the network does not have, and the memory needed.
void report_evaluation(const Inference& inference, const World& world, const EvaluationJob& job,
                       const ShardReader& shards);

/// Seconds that the network alone takes, from two batches.
double expected_seconds(Inference& inference, const World& world, const EvaluationJob& job, uint64_t images);

/// Collective over `world`; `inference` has its weights. Complete on rank 0 (facts are the caller's).
Evaluation run_evaluation(World& world, Inference& inference, const ShardReader& shards, const EvaluationJob& job);

/// Writes evaluation.h5 and finishes the stage, on rank 0. `pack` is the manifest of the images. Returns the last line.
std::string finish_evaluation(Stage& stage, Evaluation& evaluation, const EvaluationJob& job,
                              const Inference& inference, const StageManifest& pack, int ranks);

}  // namespace packhorse

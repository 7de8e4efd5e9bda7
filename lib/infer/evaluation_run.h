// A whole evaluation: runs every image through the network once, over all ranks, and collects the results.
//
// Rule: listed = images + outside + not_finite in every scope; anything else is an error. The result is the same for
// any number of ranks: counts are integers, and an image's logits do not depend on the other images of its batch.
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
  ClassTable data_classes;  ///< those that the shards' labels refer to
  std::optional<ClassChoice> subset;
  int64_t batch = 1;                   ///< images per step and rank
  int workers = 1;                     ///< decoding threads per rank
  size_t samples = 24, mistakes = 12;  ///< number of single images to keep
};

/// Throws an Error if the network was trained on other shards than those that are there now: its images may be among
/// those of validation.
void check_trained_on(const CheckpointInfo& info, const StageManifest& pack);
/// Throws a UsageError if none of the images' classes is among the network's. `pack`: the manifest of the images.
void check_common_class(const EvaluationJob& job, const StageManifest& pack);

/// Options of the feed that an evaluation reads from.
FeedOptions evaluation_feed(const Inference& inference, const World& world, const EvaluationJob& job, uint64_t images);

/// Logs the number of images, the classes that the network does not have, and the memory needed.
void report_evaluation(const Inference& inference, const World& world, const EvaluationJob& job,
                       const ShardReader& shards);

/// The seconds are those of the network alone (without reading and decoding), from one timed batch after a warm-up
/// batch. Collective.
StagePlan planned(Inference& inference, const World& world, const EvaluationJob& job, const ShardReader& shards);

/// Collective over `world`; call inference.load() before. The result is complete on rank 0; the caller adds the facts.
Evaluation run_evaluation(World& world, Inference& inference, const ShardReader& shards, const EvaluationJob& job);

/// Writes evaluation.h5 and the manifest, on rank 0. `pack` is the manifest of the images. Returns the result line.
std::string finish_evaluation(Stage& stage, Evaluation& evaluation, const EvaluationJob& job,
                              const Inference& inference, const StageManifest& pack, int ranks);

}  // namespace packhorse

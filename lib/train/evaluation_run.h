// A whole evaluation: every image through the network once, over all ranks, and what came of it.
//
// Rule: listed = images + outside + not_finite in every scope, or it is an error. The result is the same for any number
// of ranks: counts are whole numbers, and an image's logits do not depend on the others of its batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metrics/evaluation.h"
#include "ranks/world.h"
#include "record/shard_reader.h"
#include "train/class_choice.h"
#include "train/inference.h"

namespace packhorse {

struct EvaluationJob {
  ClassTable classes;       ///< the network's
  ClassTable data_classes;  ///< those that the shards' labels mean
  std::optional<NamedChoice> subset;
  int64_t batch = 1;  ///< pictures at a time, a rank
  int feed_threads = 1;
  size_t samples = 24, mistakes = 12;  ///< single images kept
};

/// The feed that an evaluation reads from.
FeedOptions evaluation_feed(const Inference& inference, const World& world, const EvaluationJob& job, uint64_t images);

/// Collective over `world`; `inference` has its weights. Complete on rank 0 (facts are the caller's).
Evaluation run_evaluation(World& world, Inference& inference, const ShardReader& shards, const EvaluationJob& job);

}  // namespace packhorse

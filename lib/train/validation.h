// Accuracy on the validation images: each image is counted exactly once, over all ranks.
#pragma once

#include <cstdint>

#include "feed/feed.h"
#include "metrics/top_k.h"
#include "ops/executor.h"
#include "ranks/world.h"

namespace packhorse {

/// Runs the feed (with FeedOptions::training false) to its end and sums the counts over the ranks. Throws if the number
/// of images counted is not `images`, or if logits are not finite.
AccuracyCounters validate(Executor& executor, Feed& feed, World& world, uint64_t images);

}  // namespace packhorse

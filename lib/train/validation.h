// How well the network does on images it does not learn from: every one of them counted exactly once, over all ranks.
#pragma once

#include <cstdint>

#include "feed/feed.h"
#include "metrics/top_k.h"
#include "ops/executor.h"
#include "ranks/world.h"

namespace packhorse {

/// Runs the feed (of FeedOptions::training false) to its end and adds up the ranks' counts. Throws unless `images`
/// were counted, or where logits are not finite.
AccuracyCounters validate(Executor& executor, Feed& feed, World& world, uint64_t images);

}  // namespace packhorse

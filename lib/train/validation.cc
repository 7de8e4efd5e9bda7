#include "train/validation.h"

#include <string>

#include "base/error.h"

namespace packhorse {

AccuracyCounters validate(Executor& executor, Feed& feed, World& world, uint64_t images) {
  const auto classes = static_cast<size_t>(executor.graph().classes);
  AccuracyCounters counters{ClassSet(classes)};
  while (const Batch* batch = feed.next()) {
    const std::span<const float> logits = executor.infer(batch->pixels);
    for (size_t i = 0; i < batch->labels.size(); ++i)
      if (batch->labels[i] >= 0) counters.add(logits.subspan(i * classes, classes), batch->labels[i]);
  }
  world.sum(counters.counts());
  if (counters.not_finite() > 0) {
    throw Error({"the network gives values that are not finite for " + std::to_string(counters.not_finite()) +
                     " validation images",
                 executor.graph().name, "go back to an earlier checkpoint and train on with a lower --lr"});
  }
  if (counters.images() != images) {
    throw Error({"validation counted " + std::to_string(counters.images()) + " images of " + std::to_string(images),
                 "the validation shards", ""});
  }
  return counters;
}

}  // namespace packhorse

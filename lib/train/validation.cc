#include "train/validation.h"

#include "base/error.h"
#include "base/text.h"

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
    throw Error({"the network's outputs are not finite for " + counted(counters.not_finite(), "validation image"),
                 executor.graph().name, "continue from an earlier checkpoint with a lower --lr"});
  }
  if (counters.images() != images) {
    throw Error({"validation counted " + grouped(counters.images()) + " of " + counted(images, "image"),
                 "the validation shards", ""});
  }
  return counters;
}

}  // namespace packhorse

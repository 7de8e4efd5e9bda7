// Makes batches from shards, ahead of the computation: reads, checks, decodes and crops each image directly into its
// place in the batch.
//
// Rule: the batches are a function of the options, never of timing or threads. Memory is bounded: `depth` batches that
// are reused. A record that is damaged or does not decode is an Error that names it; it is never skipped.
#pragma once

#include <cstdint>
#include <memory>

#include "device/host.h"
#include "feed/augment.h"
#include "feed/batch_ring.h"
#include "feed/sample_order.h"
#include "record/shard_reader.h"

namespace packhorse {

struct FeedOptions {
  BatchPlan plan;
  ShuffleOptions shuffle;
  AugmentOptions augment;
  bool training = true;  ///< false: every record once, in the order of the shards, centre crops, the last step padded
  uint64_t first_epoch = 0;  ///< where training begins; O(1) for any epoch
  uint64_t first_step = 0;   ///< within that epoch
  uint64_t end_epoch = 1;    ///< training ends before this epoch
  int64_t classes = 0;       ///< labels must be less than this
  int threads = 1;
  int depth = 3;  ///< batches in the ring: one in use, the others prefetched
};

class Feed {
 public:
  /// `shards` must outlive the feed, and `device`, which gives the batches' memory. Decoding begins at once.
  Feed(const ShardReader& shards, const FeedOptions& options, Device& device = host_device());
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  /// The next batch, or nullptr after the last one; valid until the next call. Throws the error of reading or decoding
  /// it.
  const Batch* next();
  /// The batch that next() gave stays as it is until the event is done; the event must outlive the feed.
  void keep_until(const Event& taken);

  /// Seconds that next() has waited so far.
  double waited_seconds() const { return waited_; }
  /// Bytes of all batches of the ring.
  static uint64_t memory_bytes(const FeedOptions& options);

 private:
  struct Filler;
  std::unique_ptr<Filler> filler_;
  std::unique_ptr<BatchRing> ring_;
  double waited_ = 0;
};

}  // namespace packhorse

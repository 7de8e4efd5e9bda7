// Which record a rank trains on at which step: computed from the position, without any state to carry along.
//
// Rule: the record at a position of an epoch is a function of (seed, epoch, position, records, block, window) and of
// nothing else, in O(1). So training resumes at any step immediately, and the order is the same for any number of
// ranks, workers and threads.
//
// Blocks hold `block` consecutive records. An epoch permutes all blocks of all shards, concatenates them, and shuffles
// the records within each window of `window` consecutive blocks. Reads stay sequential over a block, while a batch
// draws from window * block records that come from the whole data set. block = 1 is an exact global shuffle.
#pragma once

#include <cstdint>

#include "base/permutation.h"

namespace packhorse {

struct ShuffleOptions {
  uint64_t seed = 0;
  uint64_t block = 1;   ///< consecutive records that are read together, >= 1
  uint64_t window = 1;  ///< permuted blocks that are shuffled together, >= 1
};

/// The order of one epoch: a permutation of [0, records).
class EpochOrder {
 public:
  EpochOrder(uint64_t records, const ShuffleOptions& options, uint64_t epoch);
  /// The record at `position` of [0, records).
  uint64_t at(uint64_t position) const;

  /// Windows, for prefetching: window `w` covers positions [window_begin(w), window_begin(w + 1)).
  uint64_t window_of(uint64_t position) const { return slot_of(position) / window_; }
  uint64_t window_begin(uint64_t window) const;
  /// The records of the block at `slot` of the permuted order: [first, first + count).
  struct Run {
    uint64_t first = 0, count = 0;
  };
  Run run(uint64_t slot) const;
  uint64_t slots() const { return blocks_.count(); }
  uint64_t slots_per_window() const { return window_; }

 private:
  uint64_t slot_of(uint64_t position) const;
  uint64_t slot_begin(uint64_t slot) const;

  uint64_t records_, block_, window_, seed_, epoch_;
  Permutation blocks_;
  uint64_t short_slot_;  ///< slot of the last block, which may be shorter, in the permuted order
  uint64_t missing_;     ///< how many records that block lacks
};

/// How an epoch is divided into steps, and a step over the ranks.
struct BatchPlan {
  uint64_t records = 0;
  uint64_t global_batch = 1;  ///< images per step, over all ranks
  int ranks = 1, rank = 0;

  /// Throws a UsageError with valid values unless the global batch divides evenly over the ranks and, for training, is
  /// no larger than the data.
  void check(bool training) const;

  uint64_t rank_batch() const { return global_batch / static_cast<uint64_t>(ranks); }
  /// Training drops the images of an epoch that do not fill a global batch (different ones in each epoch).
  uint64_t training_steps() const { return records / global_batch; }
  uint64_t dropped() const { return records % global_batch; }
  /// Evaluation uses every record once and pads the last step.
  uint64_t evaluation_steps() const { return (records + global_batch - 1) / global_batch; }
  /// The position in the epoch of this rank's image `index` in step `step`. The padding of evaluation has positions of
  /// `records` and above.
  uint64_t position(uint64_t step, uint64_t index) const {
    return step * global_batch + static_cast<uint64_t>(rank) * rank_batch() + index;
  }
};

}  // namespace packhorse

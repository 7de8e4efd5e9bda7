// Sums the gradients over the ranks while backward still runs.
//
// Backward completes the flat array of gradients from its end. The array is cut into buckets of a few megabytes, from
// the last elements to the first; as soon as a whole bucket is final, its sum over the ranks starts.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "comm/allreduce.h"

namespace packhorse {

/// Large enough that the latency of a message is small compared with its transfer; small enough that the first sum
/// starts early.
inline constexpr size_t kBucketBytes = size_t{4} << 20;

class GradientBuckets {
 public:
  /// `allreduce` and the memory of `gradients` must outlive it.
  GradientBuckets(Allreduce& allreduce, std::span<float> gradients, size_t bucket_bytes = kBucketBytes);

  /// gradients[first..] are final; `first` falls from call to call.
  void ready(size_t first);

  /// After backward: starts the sums of the remaining buckets, then the sum of `values`, which are few and known last.
  void also(std::span<float> values);

  /// Starts the remaining sums, waits for all of them, and resets for the next step.
  void finish();

  /// Seconds that finish() waited in the last step: the part of the sums that backward did not hide.
  double exposed_seconds() const { return exposed_; }

 private:
  void start_down_to(size_t first);

  Allreduce& allreduce_;
  std::span<float> gradients_;
  std::vector<size_t> starts_;  ///< first element of each bucket, from the last bucket to the first
  size_t next_ = 0;             ///< the bucket to start next
  double exposed_ = 0;
};

}  // namespace packhorse

// Gradients are summed over the ranks while backward still runs.
//
// The flat array of gradients becomes final from its end. It is cut into buckets of a few megabytes, the last elements
// first; whenever a whole bucket is final, its sum over the ranks begins.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "comm/allreduce.h"

namespace packhorse {

/// Large enough that a message's latency is small beside its transfer, small enough that the first begins early.
inline constexpr size_t kBucketBytes = size_t{4} << 20;

class GradientBuckets {
 public:
  /// `gradients` and `allreduce` must outlive it.
  GradientBuckets(Allreduce& allreduce, std::span<float> gradients, size_t bucket_bytes = kBucketBytes);

  /// gradients[first..] are final; `first` falls from call to call.
  void ready(size_t first);

  /// After backward: begins what ready() did not reach, then the sum of `values`, which are small and known last.
  void also(std::span<float> values);

  /// Begins what is left, waits for all sums, and stands ready for the next step.
  void finish();

  size_t buckets() const { return starts_.size(); }
  /// Seconds that finish() waited in the last step: the part of the sums that backward did not hide.
  double exposed_seconds() const { return exposed_; }

 private:
  void begin_up_to(size_t first);

  Allreduce& allreduce_;
  std::span<float> gradients_;
  std::vector<size_t> starts_;  ///< first element of each bucket, falling
  size_t next_ = 0;             ///< the bucket to begin next
  double exposed_ = 0;
};

}  // namespace packhorse

#include "comm/gradient_buckets.h"

#include <algorithm>

#include "base/stopwatch.h"

namespace packhorse {

GradientBuckets::GradientBuckets(Allreduce& allreduce, std::span<float> gradients, size_t bucket_bytes)
    : allreduce_(allreduce), gradients_(gradients) {
  const size_t length = std::max<size_t>(1, bucket_bytes / sizeof(float));
  for (size_t end = gradients.size(); end > 0;) {
    end -= std::min(end, length);
    starts_.push_back(end);
  }
}

void GradientBuckets::start_down_to(size_t first) {
  for (; next_ < starts_.size() && starts_[next_] >= first; ++next_) {
    const size_t end = next_ == 0 ? gradients_.size() : starts_[next_ - 1];
    allreduce_.start(gradients_.subspan(starts_[next_], end - starts_[next_]));
  }
}

void GradientBuckets::ready(size_t first) { start_down_to(first); }

void GradientBuckets::also(std::span<float> values) {
  start_down_to(0);
  if (!values.empty()) allreduce_.start(values);
}

void GradientBuckets::finish() {
  const Stopwatch clock;
  start_down_to(0);
  allreduce_.wait();
  next_ = 0;
  exposed_ = clock.seconds();
}

}  // namespace packhorse

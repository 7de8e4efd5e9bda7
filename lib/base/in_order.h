// Work on many threads, with results in order. The number of items in flight is bounded. An exception from either side
// ends the work and reaches the caller.
#pragma once

#include <cstdint>

#include <tbb/global_control.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

namespace packhorse {

/// Maximum number of items in flight for each thread: enough to work on while a write waits for the disk.
inline constexpr int kInFlightPerThread = 16;

/// Calls make(i) for each i in [0, count) on up to `threads` threads, and take(result) in the order of i, one call at a
/// time.
template <typename Make, typename Take>
void for_each_in_order(uint64_t count, int threads, const Make& make, const Take& take) {
  using Item = decltype(make(uint64_t{0}));
  uint64_t next = 0;
  // More threads than cores, if the caller asks for them: a cluster's disks have a long latency.
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute([&] {
    const auto number = tbb::make_filter<void, uint64_t>(tbb::filter_mode::serial_in_order,
                                                         [&](tbb::flow_control& control) -> uint64_t {
                                                           if (next == count) control.stop();
                                                           return next == count ? 0 : next++;
                                                         });
    const auto work =
        tbb::make_filter<uint64_t, Item>(tbb::filter_mode::parallel, [&](uint64_t index) { return make(index); });
    const auto hand_over =
        tbb::make_filter<Item, void>(tbb::filter_mode::serial_in_order, [&](const Item& item) { take(item); });
    tbb::parallel_pipeline(static_cast<size_t>(threads) * kInFlightPerThread, number & work & hand_over);
  });
}

}  // namespace packhorse

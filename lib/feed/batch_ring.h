// A bounded queue of recycled batches between one thread that fills them and one that uses them.
//
// Rule: batches are allocated once and reused. An exception of the filling thread is thrown to the consumer in the
// batch's turn. The ring can be destroyed at any moment and then stops within one fill.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "device/device.h"

namespace packhorse {

/// The input of a step: pixels, labels, and which images they are.
struct Batch {
  uint64_t epoch = 0, step = 0;
  HostArray<uint8_t> pixels;  ///< (N, S, S, 3), RGB
  HostArray<int32_t> labels;  ///< (N); -1 pads the last batch of an evaluation
  std::vector<uint64_t> ids;  ///< (N), the images' numbers in their list
};

class BatchRing {
 public:
  /// `fill` is called on the ring's own thread, once for each batch, until it returns false (no more batches) or
  /// throws.
  BatchRing(std::vector<std::unique_ptr<Batch>> batches, std::function<bool(Batch&)> fill);
  ~BatchRing();
  BatchRing(const BatchRing&) = delete;
  BatchRing& operator=(const BatchRing&) = delete;

  /// The next batch, or nullptr after the last one. It is valid until the next call, which recycles it. If `fill`
  /// threw, this call and every later one throw the same exception.
  const Batch* next();
  /// The batch that next() gave is not filled again before the event is done: a device may still read it then. The
  /// event must outlive the ring.
  void keep_until(const Event& taken);

 private:
  void run();

  const std::function<bool(Batch&)> fill_;
  std::mutex mutex_;
  std::condition_variable changed_;
  struct Free {
    std::unique_ptr<Batch> batch;
    const Event* until = nullptr;
  };
  std::deque<Free> free_;
  std::deque<std::unique_ptr<Batch>> full_;
  Free taken_;
  std::exception_ptr failure_;
  bool ended_ = false, stop_ = false;
  std::thread thread_;  // last: it uses all members above
};

}  // namespace packhorse

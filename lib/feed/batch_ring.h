// Hand-over of batches from a thread that fills them to one that uses them: bounded, recycled, and open to exceptions.
//
// Rule: batches are made once and go round. What the filling thread throws, the taking thread gets, in the batch's
// turn; the ring can be dropped at any moment and stops within one fill.
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

namespace packhorse {

/// What a step needs: images, labels, and which they are.
struct Batch {
  uint64_t epoch = 0, step = 0;
  std::vector<uint8_t> pixels;  ///< (N, S, S, 3), RGB
  std::vector<int32_t> labels;  ///< (N); -1 pads the last batch of an evaluation
  std::vector<uint64_t> ids;    ///< (N), the images' numbers in their list
  uint64_t bytes_read = 0;      ///< encoded bytes that it took
};

class BatchRing {
 public:
  /// `fill` is called on the ring's own thread, batch after batch, until it returns false (no more) or throws.
  BatchRing(std::vector<std::unique_ptr<Batch>> batches, std::function<bool(Batch&)> fill);
  ~BatchRing();
  BatchRing(const BatchRing&) = delete;
  BatchRing& operator=(const BatchRing&) = delete;

  /// The next batch, or nullptr after the last; valid until the next call, which hands it back. Throws what fill threw,
  /// on this call and on every later one.
  const Batch* next();

 private:
  void run();

  const std::function<bool(Batch&)> fill_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Batch>> free_, full_;
  std::unique_ptr<Batch> taken_;
  std::exception_ptr failure_;
  bool ended_ = false, stop_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace packhorse

#include "feed/batch_ring.h"

#include <utility>

namespace packhorse {

BatchRing::BatchRing(std::vector<std::unique_ptr<Batch>> batches, std::function<bool(Batch&)> fill)
    : fill_(std::move(fill)) {
  for (auto& batch : batches) free_.push_back(std::move(batch));
  thread_ = std::thread([this] { run(); });
}

BatchRing::~BatchRing() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchRing::run() {
  while (true) {
    std::unique_ptr<Batch> batch;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || !free_.empty(); });
      if (stop_) return;
      batch = std::move(free_.front());
      free_.pop_front();
    }
    bool more = false;
    std::exception_ptr failure;
    try {
      more = fill_(*batch);
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      if (more) full_.push_back(std::move(batch));
      failure_ = failure;
      ended_ = !more;
    }
    changed_.notify_all();
    if (!more) return;
  }
}

const Batch* BatchRing::next() {
  std::unique_lock lock(mutex_);
  if (taken_ != nullptr) {
    free_.push_back(std::move(taken_));
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return ended_ || !full_.empty(); });
  if (full_.empty()) {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return nullptr;
  }
  taken_ = std::move(full_.front());
  full_.pop_front();
  return taken_.get();
}

}  // namespace packhorse

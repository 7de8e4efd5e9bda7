#include "feed/batch_ring.h"

#include <utility>

namespace packhorse {

BatchRing::BatchRing(std::vector<std::unique_ptr<Batch>> batches, std::function<bool(Batch&)> fill)
    : fill_(std::move(fill)) {
  for (auto& batch : batches) free_.push_back({std::move(batch)});
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
    Free free;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || !free_.empty(); });
      if (stop_) return;
      free = std::move(free_.front());
      free_.pop_front();
    }
    bool more = false;
    std::exception_ptr failure;
    try {
      if (free.until != nullptr) free.until->synchronize();
      more = fill_(*free.batch);
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      if (more) full_.push_back(std::move(free.batch));
      failure_ = failure;
      ended_ = !more;
    }
    changed_.notify_all();
    if (!more) return;
  }
}

const Batch* BatchRing::next() {
  std::unique_lock lock(mutex_);
  if (taken_.batch != nullptr) {
    free_.push_back(std::exchange(taken_, {}));
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return ended_ || !full_.empty(); });
  if (full_.empty()) {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return nullptr;
  }
  taken_.batch = std::move(full_.front());
  full_.pop_front();
  return taken_.batch.get();
}

void BatchRing::keep_until(const Event& taken) { taken_.until = &taken; }

}  // namespace packhorse

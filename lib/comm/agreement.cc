#include "comm/agreement.h"

#include <utility>

namespace packhorse {

Agreement::Agreement(CommThread& comm) : comm_(comm) { comm_.add(*this); }

Agreement::~Agreement() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_ == 0; });
  }
  comm_.remove(*this);
}

void Agreement::start(StepRequests own) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_ != nullptr) return;
    if (comm_.world().size() == 1) {
      answers_.push_back(own);
      return;
    }
    queue_.push_back(own);
    ++open_;
  }
  comm_.wake();
}

StepRequests Agreement::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !answers_.empty() || failure_ != nullptr; });
  if (answers_.empty()) std::rethrow_exception(failure_);
  const StepRequests answer = answers_.front();
  answers_.pop_front();
  return answer;
}

CommThread::Progress Agreement::progress() {
  const bool begun = begin(), finished = finish();
  if (begun || finished) return CommThread::Progress::kMoved;
  return running_.empty() ? CommThread::Progress::kIdle : CommThread::Progress::kWaiting;
}

void Agreement::fail(std::exception_ptr failure) {
  {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
    running_.clear();
    queue_.clear();
    open_ = 0;
  }
  changed_.notify_all();
}

/// True if it started one. MPI is called without the lock, because start() must not wait for it.
bool Agreement::begin() {
  std::deque<StepRequests> queued;
  {
    const std::lock_guard lock(mutex_);
    queued.swap(queue_);
  }
  for (const StepRequests own : queued) {
    Open& open = running_.emplace_back(Open{.flags = {own.stop, own.checkpoint}, .request = {}});
    open.request = comm_.world().start_any(open.flags);
  }
  return !queued.empty();
}

/// True if one ended. In the order of their starts, so only the first is asked.
bool Agreement::finish() {
  bool finished = false;
  while (!running_.empty() && running_.front().request.poll()) {
    const auto [stop, checkpoint] = running_.front().flags;
    running_.pop_front();
    finished = true;
    const std::lock_guard lock(mutex_);
    answers_.push_back({.stop = stop != 0, .checkpoint = checkpoint != 0});
    --open_;
    changed_.notify_all();
  }
  return finished;
}

}  // namespace packhorse

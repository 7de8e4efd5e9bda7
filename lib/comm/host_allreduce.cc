#include "comm/host_allreduce.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace packhorse {
namespace {

using namespace std::chrono_literals;

class SingleRankAllreduce : public Allreduce {
 public:
  int ranks() const override { return 1; }
  void start(std::span<float> /*values*/) override {}
  void wait() override {}
};

class HostAllreduce : public Allreduce {
 public:
  explicit HostAllreduce(World& world) : world_(world), thread_([this] { run(); }) {}

  ~HostAllreduce() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  int ranks() const override { return world_.size(); }

  void start(std::span<float> values) override {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(values);
      ++open_;
    }
    changed_.notify_all();
  }

  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_ == 0; });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  /// Polls all running sums, because MPI moves data only while it is called; sleeps longer while nothing arrives.
  void run() {
    constexpr auto kShortest = 20us, kLongest = 320us;
    auto nap = kShortest;
    while (take()) {
      try {
        if (poll()) {
          nap = kShortest;
        } else {
          std::this_thread::sleep_for(nap);
          nap = std::min(nap * 2, kLongest);
        }
      } catch (...) {
        fail();
      }
    }
  }

  /// Moves the queued sums to `starting_`; sleeps while none is queued or running. False when the thread must end.
  bool take() {
    std::unique_lock lock(mutex_);
    if (running_.empty()) changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return false;
    starting_.assign(queue_.begin(), queue_.end());
    queue_.clear();
    return true;
  }

  /// Starts the sums in `starting_` and polls the running ones. True if one started or ended.
  bool poll() {
    bool moved = !starting_.empty();
    for (const auto values : starting_) running_.push_back(world_.start_sum(values));
    starting_.clear();
    const auto ended = std::remove_if(running_.begin(), running_.end(), [](auto& request) { return request.poll(); });
    const auto count = static_cast<size_t>(running_.end() - ended);
    running_.erase(ended, running_.end());
    if (count > 0) finish(count);
    return moved || count > 0;
  }

  void finish(size_t count) {
    {
      const std::lock_guard lock(mutex_);
      open_ -= count;
    }
    changed_.notify_all();
  }

  /// After a failed message the ranks no longer agree on the order of sums, so nothing can continue: wait() throws, now
  /// and in every later call.
  void fail() {
    {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      running_.clear();
      starting_.clear();
      queue_.clear();
      open_ = 0;
    }
    changed_.notify_all();
  }

  World& world_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::span<float>> queue_;      // queued by start(), not yet taken by the thread
  std::vector<std::span<float>> starting_;  // only the thread uses it
  std::vector<World::Request> running_;     // only the thread uses it
  size_t open_ = 0;                         // started and not complete
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread thread_;  // last member, because it uses all the others
};

}  // namespace

std::unique_ptr<Allreduce> make_host_allreduce(World& world) {
  if (world.size() == 1) return std::make_unique<SingleRankAllreduce>();
  return std::make_unique<HostAllreduce>(world);
}

}  // namespace packhorse

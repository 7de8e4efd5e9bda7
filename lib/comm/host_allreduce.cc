#include "comm/host_allreduce.h"

#include <cstring>
#include <deque>
#include <functional>
#include <iterator>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "base/stopwatch.h"
#include "device/host.h"

namespace packhorse {
namespace {

using Progress = CommThread::Progress;

/// Its items pass in order. Sums, and the records behind them, then run on beside the items that follow.
class SumStream final : public Stream, private CommThread::Client {
 public:
  explicit SumStream(CommThread& comm) : comm_(comm) { comm_.add(*this); }
  ~SumStream() override {
    HostEvent end;
    record(end);
    end.await(end.announced());  // what it throws has reached who waits for an event
    comm_.remove(*this);
  }

  void sum(std::span<float> values) {
    push([this, values] {
      if (!failed()) running_.push_back({.request = comm_.world().start_sum(values)});
      return true;
    });
  }

  void enqueue(Work work, double* seconds) override {
    push([this, work = std::move(work), seconds] {
      if (!running_.empty() && !failed()) return false;
      run(work, seconds);
      return true;
    });
  }

  void write(DeviceAddress to, std::span<const std::byte> from) override {
    enqueue([=] { std::memcpy(host_pointer(to), from.data(), from.size()); }, nullptr);
  }
  void read(std::span<std::byte> to, DeviceAddress from) override {
    enqueue([=] { std::memcpy(to.data(), host_pointer(from), to.size()); }, nullptr);
  }

  void record(Event& event) override {
    auto& mine = static_cast<HostEvent&>(event);
    push([this, &mine, number = mine.announce()] {
      running_.push_back({.record = &mine, .number = number, .failure = failure_});
      return true;
    });
  }

  void wait(const Event& event, double* seconds) override {
    const auto& other = static_cast<const HostEvent&>(event);
    push([this, &other, seconds, number = other.announced(), since = std::optional<Stopwatch>()]() mutable {
      if (failed()) return true;
      if (!since) since.emplace();
      if (!other.reached(number)) return false;
      failure_ = other.await(number);  // returns at once
      if (seconds != nullptr) *seconds += since->seconds();
      return true;
    });
  }

  void synchronize() override {
    HostEvent end;
    record(end);
    end.synchronize();
  }

 private:
  /// True once the stream may go on to the next item.
  using Item = std::function<bool()>;

  /// A sum in progress, or a record behind it.
  struct Running {
    World::Request request{};
    HostEvent* record = nullptr;
    uint64_t number = 0;
    std::exception_ptr failure{};  // of what is before the record
  };

  void push(Item item) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(item));
    }
    comm_.wake();
  }

  // The thread calls everything from here on.

  Progress progress() override {
    take();
    const bool began = begin(), finished = finish();
    if (began || finished) return Progress::kMoved;
    return items_.empty() && running_.empty() ? Progress::kIdle : Progress::kWaiting;
  }

  /// Gives up the sums. The records behind them are complete with the failure, and the items pass and do nothing.
  void fail(std::exception_ptr failure) override {
    std::erase_if(running_, [](const Running& running) { return running.record == nullptr; });
    for (Running& record : running_) record.failure = failure;
    failure_ = std::move(failure);
  }

  bool failed() const { return failure_ != nullptr; }

  void take() {
    const std::lock_guard lock(mutex_);
    items_.insert(items_.end(), std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
    queue_.clear();
  }

  /// Goes on to the first item that holds the stream back. True if it passed one.
  bool begin() {
    bool passed = false;
    while (!items_.empty() && items_.front()()) {
      items_.pop_front();
      passed = true;
    }
    return passed;
  }

  /// Removes what is complete. True if something is.
  bool finish() {
    bool finished = false;
    for (auto at = running_.begin(); at != running_.end();) {
      if (complete(*at)) {
        at = running_.erase(at);
        finished = true;
      } else {
        ++at;
      }
    }
    return finished;
  }

  /// A record is complete as soon as nothing is before it.
  bool complete(Running& running) {
    if (running.record == nullptr) return running.request.poll();
    if (&running != &running_.front()) return false;
    running.record->complete(running.number, running.failure);
    return true;
  }

  /// Work that throws ends this stream, but not what else communicates: no message failed.
  void run(const Work& work, double* seconds) {
    if (failed()) return;
    const Stopwatch clock;
    try {
      work();
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (seconds != nullptr) *seconds += clock.seconds();
  }

  CommThread& comm_;
  std::mutex mutex_;
  std::deque<Item> queue_;  // under the mutex; the rest only the thread uses
  std::deque<Item> items_;
  std::list<Running> running_;  // in the order of the stream
  std::exception_ptr failure_;
};

class HostAllreduce : public Allreduce {
 public:
  explicit HostAllreduce(CommThread& comm) : ranks_(comm.world().size()), stream_(comm) {}
  int ranks() const override { return ranks_; }
  Stream& stream() override { return stream_; }
  void enqueue(DeviceAddress values, int64_t count) override {
    stream_.sum({reinterpret_cast<float*>(host_pointer(values)), static_cast<size_t>(count)});
  }

 private:
  int ranks_;
  SumStream stream_;
};

class SingleRankAllreduce : public Allreduce {
 public:
  int ranks() const override { return 1; }
  Stream& stream() override { return *stream_; }
  void enqueue(DeviceAddress /*values*/, int64_t /*count*/) override {}

 private:
  std::unique_ptr<Stream> stream_ = host_device().make_stream(true);
};

}  // namespace

std::unique_ptr<Allreduce> make_host_allreduce(CommThread& comm) {
  if (comm.world().size() == 1) return std::make_unique<SingleRankAllreduce>();
  return std::make_unique<HostAllreduce>(comm);
}

}  // namespace packhorse

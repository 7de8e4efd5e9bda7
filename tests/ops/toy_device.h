// A device that has nothing in common with the host but the interface: its memory lies behind handles that no host can
// follow, and what is enqueued runs late, in an order that a seeded dice draws among those that streams and events
// allow. What a program takes for granted but never asked for, it does not find here.
//
// Work runs on the thread of whoever waits, one at a time, and now and then before anybody does.
#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/philox.h"
#include "base/stopwatch.h"
#include "device/device.h"
#include "ops/toy_memory.h"

namespace packhorse::toy {

class ToyDevice;

/// Counts its records and how many of them the streams have come to.
class ToyEvent : public Event {
 public:
  explicit ToyEvent(ToyDevice& device) : device_(device) {}
  ~ToyEvent() override {
    if (uses_ == 0) return;
    fmt::print(stderr, "toy: an event ended before the work that records it or waits for it\n");
    std::abort();  // that work would look at memory that is gone
  }
  ToyEvent(const ToyEvent&) = delete;
  ToyEvent& operator=(const ToyEvent&) = delete;

  bool done() const override;
  void synchronize() const override;

  uint64_t announce() { return ++announced_; }
  void complete(uint64_t number, std::exception_ptr failure) {
    completed_ = std::max(completed_, number);
    failure_ = std::move(failure);
  }
  uint64_t announced() const { return announced_; }
  bool reached(uint64_t number) const { return completed_ >= number; }
  const std::exception_ptr& failure() const { return failure_; }

  /// Work that is enqueued and names the event: one more, or one less.
  void add_uses(int count) const { uses_ += count; }

 private:
  ToyDevice& device_;
  uint64_t announced_ = 0, completed_ = 0;
  std::exception_ptr failure_;
  mutable int uses_ = 0;
};

class ToyStream : public Stream {
 public:
  ToyStream(ToyDevice& device, size_t number);
  ~ToyStream() override;
  ToyStream(const ToyStream&) = delete;
  ToyStream& operator=(const ToyStream&) = delete;

  void enqueue(Work work, double* seconds) override { push({.work = std::move(work), .seconds = seconds}); }
  void write(DeviceAddress to, std::span<const std::byte> from) override;
  void read(std::span<std::byte> to, DeviceAddress from) override;
  void record(Event& event) override {
    const auto held = lock();
    auto& mine = static_cast<ToyEvent&>(event);
    push({.record = &mine, .number = mine.announce()});
  }
  // The time that it stands still means nothing here.
  void wait(const Event& event, double* /*seconds*/) override {
    const auto held = lock();
    const auto& other = static_cast<const ToyEvent&>(event);
    push({.wait = &other, .number = other.announced()});
  }
  void synchronize() override;

  // For the device.

  uint32_t rank = 0;  ///< who runs first
  bool empty() const { return items_.empty(); }
  bool ready() const { return !empty() && (items_.front().wait == nullptr || reached(items_.front())); }
  /// Takes the first item.
  void step() {
    const Item item = std::move(items_.front());
    items_.pop_front();
    if (item.record != nullptr) item.record->complete(item.number, failure_);
    if (item.wait != nullptr && failure_ == nullptr) failure_ = item.wait->failure();
    if (item.work && failure_ == nullptr) run(item);
    use(item, -1);
  }
  /// Work that comes before all that is enqueued.
  void put_first(Work work) { items_.push_front({.work = std::move(work)}); }
  /// What it stands still for.
  std::string text() const {
    return fmt::format("stream {} waits for record {} of an event", number_, items_.front().number);
  }
  /// Gives up the wait that it stands still for.
  void give_up(const std::exception_ptr& failure) {
    use(items_.front(), -1);
    items_.pop_front();
    failure_ = failure;
  }

 private:
  /// One of three: work, a record, a wait.
  struct Item {
    Work work{};
    ToyEvent* record = nullptr;
    const ToyEvent* wait = nullptr;
    uint64_t number = 0;
    double* seconds = nullptr;
  };
  static bool reached(const Item& item) { return item.wait->reached(item.number); }
  static void use(const Item& item, int count) {
    if (item.record != nullptr) item.record->add_uses(count);
    if (item.wait != nullptr) item.wait->add_uses(count);
  }
  std::unique_lock<std::recursive_mutex> lock() const;
  void push(Item item);
  void run(const Item& item) {
    const Stopwatch clock;
    try {
      item.work();
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (item.seconds != nullptr) *item.seconds += clock.seconds();
  }

  ToyDevice& device_;
  size_t number_;
  std::deque<Item> items_;
  std::exception_ptr failure_;
};

class ToyDevice : public Device {
 public:
  explicit ToyDevice(uint64_t order) : dice_(0, RandomUse::test, 0, 0) { seed(order); }

  /// The order of all that comes follows from it.
  void seed(uint64_t order) {
    dice_ = RandomStream(order, RandomUse::test, 0, 0);
    draw_mood();
  }

  std::string name() const override { return "toy"; }
  uint64_t memory_bytes() const override { return Memory::kBytes; }
  std::unique_ptr<Stream> make_stream(bool /*beside*/) override {
    return std::make_unique<ToyStream>(*this, ++last_stream_);
  }
  std::unique_ptr<Event> make_event() override { return std::make_unique<ToyEvent>(*this); }
  DeviceAddress allocate(size_t bytes) override {
    const auto held = lock();
    return memory_.allocate(bytes);
  }
  void free(DeviceAddress address, size_t /*bytes*/) noexcept override {
    const auto held = lock();
    memory_.free(address);
  }
  std::byte* allocate_host(size_t bytes) override {
    const auto held = lock();
    return pinned_.allocate(bytes);
  }
  void free_host(std::byte* address, size_t /*bytes*/) noexcept override {
    const auto held = lock();
    pinned_.free(address);
  }

  // For what runs on the device.

  Memory& memory() { return memory_; }
  const PinnedMemory& pinned() const { return pinned_; }
  /// What the work that runs now does next: in its place in the stream, but other streams may run before.
  void continue_with(Stream::Work work) { running_->put_first(std::move(work)); }

  // For streams and events.

  /// Whoever looks at the device holds it, and so does work that runs.
  std::unique_lock<std::recursive_mutex> lock() const { return std::unique_lock(mutex_); }
  void add(ToyStream& stream) {
    const auto held = lock();
    streams_.push_back(&stream);
    stream.rank = dice_.next();
  }
  void remove(ToyStream& stream) {
    const auto held = lock();
    std::erase(streams_, &stream);
  }
  /// Draws what runs next until `done`. If nothing can run before, the streams that wait fail with a Fault.
  template <typename Done>
  void run_until(const Done& done) {
    const auto held = lock();
    while (!done())
      if (!run_one()) give_up();
  }
  /// False if nothing can run.
  bool run_one() {
    std::vector<ToyStream*> ready;
    for (ToyStream* stream : streams_)
      if (stream->ready()) ready.push_back(stream);
    if (ready.empty()) return false;
    if (turns_-- == 0) draw_mood();
    running_ = draw(ready);
    running_->step();
    return true;
  }
  /// The device is not always late.
  void run_now_and_then() {
    constexpr uint32_t kSeldom = 4;
    if (!late_ && dice_.below(kSeldom) == 0) run_one();
  }

 private:
  // For some turns, either every stream has the same chance, or whoever has the highest rank runs for as long as it
  // can: then one lane is far ahead of the others. And either nothing runs before somebody waits, or much does.
  void draw_mood() {
    turns_ = 1U << (4 + 3 * dice_.below(3));
    fair_ = dice_.below(3) == 0;
    late_ = dice_.below(2) == 0;
    for (ToyStream* stream : streams_) stream->rank = dice_.next();
  }
  ToyStream* draw(const std::vector<ToyStream*>& ready) {
    if (fair_) return ready[dice_.below(static_cast<uint32_t>(ready.size()))];
    return *std::max_element(ready.begin(), ready.end(),
                             [](const ToyStream* a, const ToyStream* b) { return a->rank < b->rank; });
  }

  // Nothing can run, though somebody waits.
  void give_up() {
    std::vector<ToyStream*> waiting;
    std::string text;
    for (ToyStream* stream : streams_) {
      if (stream->empty()) continue;
      text += (waiting.empty() ? "" : ", ") + stream->text();
      waiting.push_back(stream);
    }
    if (waiting.empty()) throw Fault("deadlock: the host waits for what nobody will record");
    const std::exception_ptr failure = std::make_exception_ptr(Fault("deadlock: " + text));
    for (ToyStream* stream : waiting) stream->give_up(failure);
  }

  mutable std::recursive_mutex mutex_;
  RandomStream dice_;
  uint32_t turns_ = 0;
  bool fair_ = true, late_ = true;
  Memory memory_;
  PinnedMemory pinned_;
  std::vector<ToyStream*> streams_;
  ToyStream* running_ = nullptr;
  size_t last_stream_ = 0;
};

inline bool ToyEvent::done() const {
  const auto held = device_.lock();
  device_.run_one();  // or whoever asks again and again would ask forever
  return completed_ == announced_;
}

inline void ToyEvent::synchronize() const {
  const auto held = device_.lock();
  device_.run_until([this, number = announced_] { return reached(number); });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

inline ToyStream::ToyStream(ToyDevice& device, size_t number) : device_(device), number_(number) { device_.add(*this); }

inline ToyStream::~ToyStream() {
  device_.run_until([this] { return empty(); });
  device_.remove(*this);
}

inline std::unique_lock<std::recursive_mutex> ToyStream::lock() const { return device_.lock(); }

inline void ToyStream::push(Item item) {
  const auto held = lock();
  use(item, 1);
  items_.push_back(std::move(item));
  device_.run_now_and_then();
}

inline void ToyStream::synchronize() {
  const auto held = lock();
  device_.run_until([this] { return empty(); });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

namespace detail {

/// The host's side of a copy must be there when its turn comes, if the device knows that memory at all.
class HostSide {
 public:
  HostSide(const ToyDevice& device, const void* address)
      : device_(device), address_(address), block_(device.pinned().block_with(address)) {}
  void check() const {
    if (block_ != device_.pinned().block_with(address_))
      throw Fault("a copy from or to memory of the host that was freed before its turn came");
  }

 private:
  const ToyDevice& device_;
  const void* address_;
  uint64_t block_;
};

}  // namespace detail

inline void ToyStream::write(DeviceAddress to, std::span<const std::byte> from) {
  if (from.empty()) return;
  const auto held = lock();
  const detail::HostSide host(device_, from.data());
  enqueue(
      [=, this] {
        host.check();
        const Bytes bytes = device_.memory().at(to, from.size());
        std::copy(from.begin(), from.end(), bytes.data.begin());
        std::fill(bytes.marks.begin(), bytes.marks.end(), kGiven);
      },
      nullptr);
}

inline void ToyStream::read(std::span<std::byte> to, DeviceAddress from) {
  if (to.empty()) return;
  const auto held = lock();
  const detail::HostSide host(device_, to.data());
  enqueue(
      [=, this] {
        host.check();
        const Bytes bytes = device_.memory().at(from, to.size());
        if (std::find(bytes.marks.begin(), bytes.marks.end(), kNobody) != bytes.marks.end())
          throw Fault("the host reads bytes that nobody wrote");
        std::copy(bytes.data.begin(), bytes.data.end(), to.begin());
      },
      nullptr);
}

/// The one toy; it lives as long as the process. TOY_SEED=N in the environment draws other orders.
inline ToyDevice& toy_device() {
  static ToyDevice device(0);
  return device;
}

inline uint64_t seed_of_environment() {
  const char* const text = std::getenv("TOY_SEED");
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

}  // namespace packhorse::toy

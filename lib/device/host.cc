#include "device/host.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/text.h"

namespace packhorse {

bool HostEvent::done() const {
  const std::lock_guard lock(mutex_);
  return completed_ == announced_;
}

void HostEvent::synchronize() const {
  if (const std::exception_ptr failure = await(announced())) std::rethrow_exception(failure);
}

uint64_t HostEvent::announce() {
  const std::lock_guard lock(mutex_);
  return ++announced_;
}

// Notifies under the lock: whoever waits may destroy the event as soon as it knows.
void HostEvent::complete(uint64_t number, std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  completed_ = std::max(completed_, number);
  failure_ = std::move(failure);
  changed_.notify_all();
}

uint64_t HostEvent::announced() const {
  const std::lock_guard lock(mutex_);
  return announced_;
}

bool HostEvent::reached(uint64_t number) const {
  const std::lock_guard lock(mutex_);
  return completed_ >= number;
}

std::exception_ptr HostEvent::await(uint64_t number) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return completed_ >= number; });
  return failure_;
}

namespace {

void run_measured(const Stream::Work& work, double* seconds) {
  if (seconds == nullptr) {
    work();
    return;
  }
  const Stopwatch clock;
  work();
  *seconds += clock.seconds();
}

HostEvent& host_event(Event& event) { return static_cast<HostEvent&>(event); }
const HostEvent& host_event(const Event& event) { return static_cast<const HostEvent&>(event); }

/// Work is done when enqueue() returns. An exception comes out of it at once, so that nothing is left behind it.
class HereStream : public Stream {
 public:
  void enqueue(Work work, double* seconds) override { run_measured(work, seconds); }
  void write(DeviceAddress to, std::span<const std::byte> from) override {
    std::memcpy(host_pointer(to), from.data(), from.size());
  }
  void read(std::span<std::byte> to, DeviceAddress from) override {
    std::memcpy(to.data(), host_pointer(from), to.size());
  }
  void record(Event& event) override { host_event(event).complete(host_event(event).announce(), nullptr); }
  void wait(const Event& event, double* seconds) override {
    run_measured([&] { event.synchronize(); }, seconds);
  }
  void synchronize() override {}
};

/// A thread that takes work from a queue.
class ThreadStream : public Stream {
 public:
  ThreadStream() : thread_([this] { run(); }) {}
  ~ThreadStream() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void enqueue(Work work, double* seconds) override {
    push([this, work = std::move(work), seconds] {
      if (failure_ == nullptr) run_measured(work, seconds);
    });
  }
  void write(DeviceAddress to, std::span<const std::byte> from) override {
    enqueue([=] { std::memcpy(host_pointer(to), from.data(), from.size()); }, nullptr);
  }
  void read(std::span<std::byte> to, DeviceAddress from) override {
    enqueue([=] { std::memcpy(to.data(), host_pointer(from), to.size()); }, nullptr);
  }
  void record(Event& event) override {
    HostEvent& mine = host_event(event);
    push([this, &mine, number = mine.announce()] { mine.complete(number, failure_); });
  }
  void wait(const Event& event, double* seconds) override {
    const HostEvent& other = host_event(event);
    push([this, &other, seconds, number = other.announced()] {
      std::exception_ptr failure;
      run_measured([&] { failure = other.await(number); }, seconds);
      if (failure_ == nullptr) failure_ = failure;
    });
  }
  void synchronize() override {
    HostEvent end;
    record(end);
    end.synchronize();
  }

 private:
  void push(Work item) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(item));
    }
    changed_.notify_all();
  }

  void run() {
    while (true) {
      Work item;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (queue_.empty()) return;
        item = std::move(queue_.front());
        queue_.pop_front();
      }
      try {
        item();
      } catch (...) {
        failure_ = std::current_exception();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  bool stop_ = false;
  std::exception_ptr failure_;  // only the thread uses it
  std::thread thread_;          // last: it uses all the others
};

class Host : public Device {
 public:
  std::string name() const override { return "cpu"; }
  uint64_t memory_bytes() const override {
    return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  bool is_host() const override { return true; }
  std::unique_ptr<Stream> make_stream(bool beside) override {
    if (beside) return std::make_unique<ThreadStream>();
    return std::make_unique<HereStream>();
  }
  std::unique_ptr<Event> make_event() override { return std::make_unique<HostEvent>(); }

  // Huge pages: without them, strided reads over several gigabytes spend much of their time in the page tables.
  DeviceAddress allocate(size_t bytes) override {
    // Without MAP_NORESERVE the kernel can refuse here, before the first step, instead of killing the run later.
    void* const at = bytes <= memory_bytes()
                         ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                         : MAP_FAILED;
    if (at == MAP_FAILED) {
      throw Error({"out of memory: needs " + bytes_text(static_cast<double>(bytes)) + ", " +
                       bytes_text(static_cast<double>(memory_bytes())) + " in all",
                   name(), "use a smaller batch, bf16, or --recompute"});
    }
    madvise(at, bytes, MADV_HUGEPAGE);  // optional: if the kernel refuses, the result is the same, only slower
    return host_address(at);
  }
  void free(DeviceAddress address, size_t bytes) noexcept override { munmap(host_pointer(address), bytes); }
  std::byte* allocate_host(size_t bytes) override { return host_pointer(allocate(bytes)); }
  void free_host(std::byte* address, size_t bytes) noexcept override { munmap(address, bytes); }
};

}  // namespace

Device& host_device() {
  static Host host;
  return host;
}

}  // namespace packhorse

#include "standin/nodes.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "standin/fibres.h"

namespace packhorse::standin {
namespace {

thread_local const Node* running = nullptr;
thread_local std::unique_ptr<std::byte[]> signal_stack;

constexpr std::chrono::milliseconds kPause{1};
/// How long nobody waits before the thread in the background goes on.
constexpr std::chrono::milliseconds kIdle{20};

/// Where a signal's handler runs: a fibre's stack is too small, or is what overflowed.
void use_signal_stack() {
  constexpr size_t kBytes = 256 << 10;
  if (signal_stack != nullptr) return;
  signal_stack = std::make_unique<std::byte[]>(kBytes);
  stack_t here{};
  here.ss_sp = signal_stack.get();
  here.ss_size = kBytes;
  sigaltstack(&here, nullptr);
}

}  // namespace

const Node* running_node() { return running; }

Nodes::Nodes(int devices, size_t bytes, uint64_t seed, bool trace)
    : memory(devices, bytes), dice_(seed), trace_(trace), open_count_(static_cast<size_t>(devices), 0) {}

NodePtr Nodes::add(std::shared_ptr<const Work> work, int device, uint64_t lane, const std::vector<NodePtr>& after) {
  auto node = std::make_shared<Node>(Node{std::move(work), device, lane});
  for (const NodePtr& other : after) {
    if (other->done) continue;
    other->then.push_back(node);
    ++node->waits_for;
  }
  ++open_count_[static_cast<size_t>(device)];
  if (node->waits_for == 0) ready_.push_back(node);
  return node;
}

void Nodes::complete(const NodePtr& node) {
  node->done = true;
  node->ended = std::chrono::steady_clock::now();
  node->poll = nullptr;
  --open_count_[static_cast<size_t>(node->device)];
  for (const NodePtr& next : std::exchange(node->then, {}))
    if (--next->waits_for == 0) ready_.push_back(next);
}

size_t Nodes::pick() {
  // For 16 nodes or so, one order of the streams; every other time, none.
  constexpr uint64_t kRound = 16;
  if (dice_.below(kRound) == 0) preference_ = preference_ == 0 ? dice_.bits() | 1 : 0;
  if (preference_ == 0) return dice_.below(ready_.size());
  const auto rank = [&](const NodePtr& node) { return Dice(preference_ + node->lane).bits(); };
  size_t best = 0;
  for (size_t i = 1; i < ready_.size(); ++i)
    if (rank(ready_[i]) < rank(ready_[best])) best = i;
  return best;
}

/// Runs one node, or a part of one. False if there was none that could go on.
bool Nodes::step(Lock& lock) {
  // One that waits for another process goes on when nobody else can: the others must not wait for it.
  std::vector<NodePtr> waiting;
  while (!ready_.empty()) {
    const size_t at = pick();
    const NodePtr node = std::exchange(ready_[at], ready_.back());
    ready_.pop_back();
    bool ended = true;
    const Work& work = *node->work;
    if (trace_ && !node->poll) {
      std::fprintf(stderr, "standin: stream %d: %s\n", static_cast<int>(node->lane), work.what.c_str());
    }
    if (work.run || work.begin) {
      memory.open(work.on_host ? -1 : node->device);
      running = node.get();
      lock.unlock();
      if (work.run) work.run();
      if (work.begin && !node->poll) node->poll = work.begin();
      if (node->poll) ended = node->poll();
      lock.lock();
      running = nullptr;
    }
    if (ended) {
      complete(node);
      ready_.insert(ready_.end(), waiting.begin(), waiting.end());
      return true;
    }
    waiting.push_back(node);
  }
  ready_ = std::move(waiting);
  return false;
}

void Nodes::run_until(Lock& lock, const std::function<bool()>& done) {
  while (!done()) {
    if (running_) {
      changed_.wait(lock);
      continue;
    }
    running_ = true;
    use_signal_stack();
    while (!done()) {
      const bool ran = step(lock);
      changed_.notify_all();
      if (ran) continue;
      if (ready_.empty()) abort_with("stuck: somebody waits for work that can never run");
      // All wait for other processes.
      lock.unlock();
      std::this_thread::sleep_for(kPause);
      lock.lock();
    }
    memory.open(-1);
    running_ = false;
    changed_.notify_all();
  }
}

void Nodes::wait_for(Lock& lock, const std::vector<NodePtr>& targets) {
  run_until(lock, [&] { return std::ranges::all_of(targets, [](const NodePtr& node) { return node->done; }); });
}

void Nodes::wait_for_device(Lock& lock, int device) {
  run_until(lock, [&] { return open_count_[static_cast<size_t>(device)] == 0; });
}

void Nodes::advance(Lock& lock) {
  if (running_) {
    changed_.wait_for(lock, kPause);
    return;
  }
  running_ = true;
  use_signal_stack();
  for (uint64_t left = 1 + dice_.below(4); left > 0 && step(lock); --left) {
  }
  memory.open(-1);
  running_ = false;
  changed_.notify_all();
}

void Nodes::run_in_background() {
  if (std::exchange(background_, true)) return;
  std::thread([this] {
    while (true) {
      std::this_thread::sleep_for(kIdle);
      Lock lock(mutex);
      if (!running_ && !ready_.empty()) advance(lock);
    }
  }).detach();
}

// ---- Who touched closed memory --------------------------------------------------------------------------------------

namespace {

Nodes* watched = nullptr;
struct sigaction before = {};

void on_fault(int number, siginfo_t* info, void* context) {
  const void* address = info->si_addr;
  std::string message;
  if (running != nullptr && in_stack_guard(address)) {
    message = place() + ": its stack on the host is full";
  } else if (watched->memory.owns(address)) {
    const std::string who = place();
    if (running == nullptr) {
      message = "the host follows a pointer to a device's memory: ";
    } else {
      message = (who.empty() ? running->work->what : who) + " touches memory that is not its own: ";
    }
    message += watched->memory.describe(address);
  } else if (running != nullptr) {
    message = (place().empty() ? running->work->what : place()) +
              " touches an address that nobody has: " + watched->memory.describe(address);
  }
  if (!message.empty()) std::fprintf(stderr, "standin: %s\n", message.c_str());
  if (before.sa_flags & SA_SIGINFO && before.sa_sigaction != nullptr && message.empty()) {
    before.sa_sigaction(number, info, context);
    return;
  }
  // The instruction runs again, and now ends the process.
  ::signal(number, SIG_DFL);
}

}  // namespace

void install_fault_handler(Nodes& nodes) {
  watched = &nodes;
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &before);
}

}  // namespace packhorse::standin

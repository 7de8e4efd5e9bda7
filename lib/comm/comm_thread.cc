#include "comm/comm_thread.h"

#include <algorithm>

namespace packhorse {
namespace {

using namespace std::chrono_literals;

constexpr auto kUntilWoken = -1us;
// A rank may have only one core: the thread leaves it to the computation, longer while nothing arrives.
constexpr auto kShortest = 20us, kLongest = 320us;

}  // namespace

CommThread::CommThread(World& world) : world_(world) {
  if (world.size() > 1) thread_ = std::thread([this] { run(); });
}

CommThread::~CommThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CommThread::add(Client& client) {
  const std::lock_guard lock(clients_mutex_);
  clients_.push_back(&client);
}

void CommThread::remove(Client& client) {
  const std::lock_guard lock(clients_mutex_);
  std::erase(clients_, &client);
}

void CommThread::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void CommThread::run() {
  auto nap = kUntilWoken;
  while (rest(nap)) {
    switch (progress()) {
      case Progress::kIdle:
        nap = kUntilWoken;
        break;
      case Progress::kWaiting:
        nap = std::clamp(nap * 2, kShortest, kLongest);
        break;
      case Progress::kMoved:
        nap = 0us;
        break;
    }
  }
}

/// Calls all clients: what moved most is the result.
CommThread::Progress CommThread::progress() {
  const std::lock_guard lock(clients_mutex_);
  try {
    Progress most = Progress::kIdle;
    for (Client* const client : clients_) most = std::max(most, client->progress());
    return most;
  } catch (...) {
    for (Client* const client : clients_) client->fail(std::current_exception());
    return Progress::kMoved;
  }
}

/// Until `nap` is over or a client wakes the thread. False when the thread must end.
bool CommThread::rest(Nap nap) {
  std::unique_lock lock(mutex_);
  const auto called = [this] { return woken_ || stop_; };
  if (nap == kUntilWoken) {
    changed_.wait(lock, called);
  } else {
    changed_.wait_for(lock, nap, called);
  }
  woken_ = false;
  return !stop_;
}

}  // namespace packhorse

#include "base/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace packhorse {
namespace {

int to_watcher = -1;  // the handler may only write

void pass_on(int signal) {
  const int former = errno;
  const auto number = static_cast<unsigned char>(signal);
  (void)!write(to_watcher, &number, 1);
  errno = former;
}

std::string name_of(int signal) { return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP"; }

}  // namespace

struct EndOnSignal::Impl {
  Descriptor from_handler, to_handler;
  std::vector<std::pair<int, struct sigaction>> former;
  std::thread watcher;
};

EndOnSignal::EndOnSignal(std::function<void()> cleanup) : impl_(std::make_unique<Impl>()) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("cannot watch for signals", "pipe");
  impl_->from_handler = Descriptor(ends[0]);
  impl_->to_handler = Descriptor(ends[1]);
  to_watcher = ends[1];
  impl_->watcher = std::thread([from = ends[0], cleanup = std::move(cleanup)] {
    unsigned char signal = 0;
    while (read(from, &signal, 1) < 0 && errno == EINTR) continue;
    if (signal == 0) return;  // nothing happened
    log_error("ends on request (" + name_of(signal) + "); nothing of it stays, and the same command begins again");
    cleanup();
    _exit(128 + signal);
  });
  for (const int signal : std::array{SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now = {}, former = {};
    if (sigaction(signal, nullptr, &former) != 0 || former.sa_handler != SIG_DFL) continue;
    now.sa_handler = pass_on;
    now.sa_flags = SA_RESTART;
    sigemptyset(&now.sa_mask);
    sigaction(signal, &now, nullptr);
    impl_->former.emplace_back(signal, former);
  }
}

EndOnSignal::~EndOnSignal() {
  for (const auto& [signal, former] : impl_->former) sigaction(signal, &former, nullptr);
  const unsigned char nothing = 0;
  (void)!write(impl_->to_handler.get(), &nothing, 1);
  impl_->watcher.join();
  to_watcher = -1;
}

}  // namespace packhorse

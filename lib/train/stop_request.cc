#include "train/stop_request.h"

#include <unistd.h>

#include <array>

namespace packhorse {
namespace {

volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t interrupted = 0;

void note_signal(int signal) {
  constexpr int kInterrupted = 130;  // 128 + SIGINT, as a shell reports it
  if (signal == SIGINT) {
    if (interrupted != 0) _exit(kInterrupted);
    interrupted = 1;
  }
  stop_requested = 1;
}

}  // namespace

StopRequest::StopRequest() {
  stop_requested = 0;
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;  // reads and writes in progress are restarted
  sigemptyset(&action.sa_mask);
  for (const int signal : std::array{SIGTERM, SIGUSR1, SIGINT}) {
    Former former{signal, {}};
    sigaction(signal, &action, &former.action);
    former_.push_back(former);
  }
}

StopRequest::~StopRequest() {
  for (const Former& former : former_) sigaction(former.signal, &former.action, nullptr);
}

bool StopRequest::requested() const { return stop_requested != 0; }

}  // namespace packhorse

// What the ranks agree on in a step: whether they stop after it, whether they write a checkpoint.
//
// Every rank starts one agreement a step, and all ranks get the same answer for it. So they act after the same step,
// however far each of them has run ahead.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>

#include "comm/comm_thread.h"

namespace packhorse {

/// What a rank requests for the end of a step; the request of one rank counts for all.
struct StepRequests {
  bool stop = false, checkpoint = false;
};

/// One at a time for each CommThread, because all ranks start their agreements in one order. Where a rank starts them
/// between its sums makes no difference: they have a communicator of their own. Any thread may call it.
class Agreement : private CommThread::Client {
 public:
  /// `comm` must outlive it. With one rank an answer is there at once.
  explicit Agreement(CommThread& comm);
  /// Waits for the answers that are still open.
  ~Agreement() override;
  Agreement(const Agreement&) = delete;
  Agreement& operator=(const Agreement&) = delete;

  /// Starts the agreement of the next step. Never waits. Several may be open.
  void start(StepRequests own);
  /// The requests of all ranks in the oldest step that was started and not yet taken; waits for them. Throws what made
  /// a message fail, once the answers from before that are taken.
  StepRequests take();

 private:
  struct Open {
    std::array<uint8_t, 2> flags;
    World::Request request;
  };

  CommThread::Progress progress() override;
  void fail(std::exception_ptr failure) override;
  bool begin();
  bool finish();

  CommThread& comm_;
  std::deque<Open> running_;  // only the thread uses it; MPI writes into it, so nothing in it may move

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<StepRequests> queue_;    // start() has put them there, the thread takes them
  std::deque<StepRequests> answers_;  // the thread has put them there, take() takes them
  size_t open_ = 0;                   // started, no answer yet
  std::exception_ptr failure_;
};

}  // namespace packhorse

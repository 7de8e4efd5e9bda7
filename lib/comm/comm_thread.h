// The thread that communicates with the other ranks while steps run.
//
// MPI moves data only while it is called, and only one thread at a time may call it (MPI_THREAD_SERIALIZED). So all
// that steps send goes through this thread: sums (host_allreduce.h), stop and checkpoint requests (agreement.h).
//
// Rule: while a sum or an agreement is in progress, no other thread communicates.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "ranks/world.h"

namespace packhorse {

class CommThread {
 public:
  enum class Progress {
    kIdle,     ///< nothing is in progress
    kWaiting,  ///< for other ranks, or for an event
    kMoved,    ///< something started or ended
  };

  /// Who communicates through the thread. The thread calls both functions; neither may wait.
  class Client {
   public:
    virtual ~Client() = default;
    /// Starts what is new and polls what is in progress. Throws if a message failed.
    virtual Progress progress() = 0;
    /// A message failed, this client's or another's. The ranks then no longer agree on what comes next, so that nothing
    /// can be sent any more: whoever waits gets `failure`, now and later.
    virtual void fail(std::exception_ptr failure) = 0;
  };

  /// With one rank there is no thread, and no client is called. `world` must outlive it.
  explicit CommThread(World& world);
  /// Its clients have left.
  ~CommThread();
  CommThread(const CommThread&) = delete;
  CommThread& operator=(const CommThread&) = delete;

  World& world() const { return world_; }

  void add(Client& client);
  /// The thread has left the client when this returns.
  void remove(Client& client);
  /// A client has something new. Never waits for the others.
  void wake();

 private:
  using Nap = std::chrono::microseconds;

  void run();
  Progress progress();
  bool rest(Nap nap);

  World& world_;
  std::mutex clients_mutex_;  // held while clients are called
  std::vector<Client*> clients_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool woken_ = false, stop_ = false;
  std::thread thread_;  // last member, because it uses all the others
};

}  // namespace packhorse

// The processes of one job: rank, size, and the communication between them. No other code includes mpi.h.
//
// Rule: one process without a launcher is a world of size 1 and does not start MPI. A rank that fails ends the job.
// Nothing newer than MPI 3.1 is used: OpenMPI and MPICH, and what descends from them, will do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/process.h"

namespace packhorse {

class World {
 public:
  /// Joins the job that mpirun or srun started (at least MPI_THREAD_SERIALIZED), or is a world of size 1. Throws an
  /// Error if MPI does not start, or if several processes were started and MPI does not know of the others: those of
  /// one MPI's launcher and another's library. Then MPI may run, and abort() must end the process.
  World();
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  bool is_root() const { return rank_ == 0; }
  int size() const { return size_; }
  /// How many ranks run on this host.
  int local_size() const { return local_size_; }
  /// Which of them this is, from 0.
  int local_rank() const { return local_rank_; }

  void barrier();
  /// Rank 0's text on every rank.
  std::string broadcast(const std::string& text);
  /// Every rank's text, in rank order, on rank 0; empty elsewhere.
  std::vector<std::string> gather(const std::string& text);
  /// Every rank's process, in rank order, on rank 0; empty elsewhere.
  std::vector<ProcessId> processes();
  /// Sums over the ranks, in place, on every rank.
  void sum(std::span<uint64_t> values);

  /// What is in progress with the other ranks. poll() is true once the result is in place, and throws an Error if a
  /// message failed; what is in progress moves only while it is called. The values must stay until then.
  class Request {
   public:
    Request();
    Request(Request&&) noexcept;
    Request& operator=(Request&&) noexcept;
    ~Request();
    bool poll();

   private:
    friend class World;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };
  /// Starts a sum over the ranks, in place. Every rank starts the same sums in the same order.
  Request start_sum(std::span<float> values);
  /// Starts: each flag (0 or 1) becomes 1 if it is 1 on any rank. Every rank starts these in the same order, but each
  /// may start them elsewhere between its sums: they have a communicator of their own.
  Request start_any(std::span<uint8_t> flags);

  /// Ends every rank of the job, now; before MPI runs, this process.
  [[noreturn]] static void abort(int exit_code);

 private:
  struct Communicator;

  int rank_ = 0, size_ = 1, local_size_ = 1, local_rank_ = 0;
  bool mpi_ = false;
  std::unique_ptr<Communicator> flags_;  // of start_any(); all else travels over MPI_COMM_WORLD
};

/// run_stage() for a stage of many ranks: messages name the rank; a rank that fails, also while MPI starts, ends the
/// whole job with its exit code; a failure that all ranks share is printed once.
int run_ranked_stage(const std::function<int(World&)>& body);

}  // namespace packhorse

// Work that waits for its predecessors. Nothing runs before somebody waits; then nodes run one after the other, in any
// order that the edges allow, as the dice falls. For some time all streams are equal, for some time one goes before the
// others: so a stream may be far ahead of another, or far behind it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "standin/dice.h"
#include "standin/memory.h"
#include "standin/standin.h"

namespace packhorse::standin {

/// What a node does: the first time, or each time that a graph is launched.
struct Work {
  std::string what;
  std::function<void()> run{};    ///< either this one
  std::function<Poll()> begin{};  ///< or this one, or none
  bool on_host = false;           ///< with the device's memory closed
};

struct Node {
  std::shared_ptr<const Work> work;
  int device = 0;
  uint64_t lane = 0;  ///< the stream's number
  size_t waits_for = 0;
  std::vector<std::shared_ptr<Node>> then{};
  bool done = false;
  std::chrono::steady_clock::time_point ended{};
  Poll poll{};
};
using NodePtr = std::shared_ptr<Node>;
using Lock = std::unique_lock<std::mutex>;

class Nodes {
 public:
  Nodes(int devices, size_t bytes, uint64_t seed, bool trace);

  std::mutex mutex;  ///< guards all of the stand-in's state
  Memory memory;

  void set_seed(uint64_t seed) {
    dice_ = Dice(seed);
    preference_ = 0;
  }
  uint64_t draw() { return dice_.bits(); }

  /// A node that runs after those.
  NodePtr add(std::shared_ptr<const Work> work, int device, uint64_t lane, const std::vector<NodePtr>& after);

  /// Runs nodes until all of those have ended.
  void wait_for(Lock& lock, const std::vector<NodePtr>& targets);
  /// Runs all nodes of a device.
  void wait_for_device(Lock& lock, int device);
  /// Runs a few: what a host finds that asks again and again.
  void advance(Lock& lock);
  /// From now on a thread runs nodes too.
  void run_in_background();

 private:
  void run_until(Lock& lock, const std::function<bool()>& done);
  bool step(Lock& lock);
  size_t pick();
  void complete(const NodePtr& node);

  Dice dice_;
  const bool trace_;  ///< says each node that runs
  std::vector<NodePtr> ready_;
  std::vector<size_t> open_count_;  // nodes of each device that have not ended
  bool running_ = false;            // some thread is at it
  std::condition_variable changed_;
  uint64_t preference_ = 0;  // of streams; 0 prefers none
  bool background_ = false;
};

/// What this OS thread runs, or null.
const Node* running_node();

/// Says who touches closed memory, before the process ends. For SIGSEGV.
void install_fault_handler(Nodes& nodes);

}  // namespace packhorse::standin

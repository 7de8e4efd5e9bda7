// A compiled program in memory, ready to be enqueued.
//
// States are found by name: programs that name the same state share it. The slab is shared too: a program begins when
// the one before it has ended, on all lanes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "ops/backend.h"
#include "ops/compile.h"
#include "ops/lanes.h"

namespace packhorse {

/// The memory of states, by name: initially zeros.
class States {
 public:
  explicit States(Device& device) : device_(device) {}
  /// Gives memory to the program's states that have none yet. Throws an Error for a state of another size.
  void add(const Program& program);
  /// Nowhere if there is no such state.
  DeviceAddress address(const std::string& state) const;
  uint64_t bytes(const std::string& state) const;
  uint64_t bytes() const;

 private:
  Device& device_;
  std::map<std::string, DeviceMemory> arrays_;
};

/// The time of one node, summed over all runs so far.
struct NodeTime {
  std::string kind, name;
  Pass pass = Pass::forward;
  double seconds = 0;
};

class BoundProgram {
 public:
  /// Everything must outlive it. `profile`: measures each node, see times().
  BoundProgram(CompiledProgram compiled, Backend& backend, const States& states, DeviceAddress slab,
               const LaneStreams& lanes, bool profile);
  ~BoundProgram();
  BoundProgram(const BoundProgram&) = delete;  // what is enqueued points back at it
  BoundProgram& operator=(const BoundProgram&) = delete;

  /// Enqueues a run: it has ended when what follows on the main lane begins. `call` must stay until then.
  void enqueue(const StepCall& call);

  const CompiledProgram& compiled() const { return compiled_; }
  /// Where a value begins; nowhere if it has no place.
  DeviceAddress address(int value) const;
  /// All zeros without `profile`. Look only when all runs have ended.
  const std::vector<NodeTime>& times() const { return times_; }

 private:
  /// What stands before and behind a node: events of other lanes, and its own event if another lane waits for it.
  struct Bound {
    Run run;
    std::vector<int> waits;  // nodes of other lanes
    std::unique_ptr<Event> end;
  };
  Run bind(size_t number);
  void order_lanes();
  void enqueue_nodes(const StepCall& call);
  void wait(Stream& stream, int node, const StepCall& call);
  const Node& node(size_t number) const { return compiled_.program.nodes[number]; }

  CompiledProgram compiled_;
  Backend& backend_;
  const States& states_;
  DeviceAddress slab_;
  const LaneStreams& lanes_;
  bool profile_;
  std::vector<Bound> nodes_;
  std::vector<Lane> beside_;      // lanes besides the main one that have nodes
  std::vector<int> last_;         // their last nodes
  std::unique_ptr<Event> begin_;  // where they begin
  std::vector<NodeTime> times_;   // by node
};

}  // namespace packhorse

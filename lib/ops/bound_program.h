// A compiled program in memory, ready to run.
//
// States are found by name: programs that name the same state share it. The slab is shared too, because programs never
// run at the same time.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "device/allreduce.h"
#include "device/array.h"
#include "ops/backend.h"
#include "ops/compile.h"

namespace packhorse {

/// The memory of states, by name: initially zeros.
class States {
 public:
  explicit States(Device device) : device_(std::move(device)) {}
  /// Gives memory to the program's states that have none yet. Throws an Error for a state of another size.
  void add(const Program& program);
  /// Null if there is no such state.
  std::byte* address(const std::string& state) const;
  uint64_t bytes(const std::string& state) const;
  uint64_t bytes() const;

 private:
  Device device_;
  std::map<std::string, DeviceArray<std::byte>> arrays_;
};

/// The time of one node, summed over all runs so far.
struct NodeTime {
  std::string kind, name;
  Pass pass = Pass::forward;
  double seconds = 0;
};

class BoundProgram {
 public:
  /// `sums`: runs the lane of the sums; null: one rank, whose sums are its own values. Everything must outlive it.
  BoundProgram(CompiledProgram compiled, Backend& backend, const States& states, std::byte* slab, Allreduce* sums,
               bool profile);
  BoundProgram(const BoundProgram&) = delete;  // its sums point back at it
  BoundProgram& operator=(const BoundProgram&) = delete;

  void run(const StepCall& call);

  const CompiledProgram& compiled() const { return compiled_; }
  /// Where a value begins; null if it has no place.
  std::byte* address(int value) const;
  std::span<const float> floats(const std::string& value) const;
  /// All zeros without `profile`.
  std::span<const NodeTime> times() const { return times_; }

 private:
  Run bind(Backend& backend, size_t number);
  double wait_for_sums();

  CompiledProgram compiled_;
  const States& states_;
  std::byte* slab_;
  Allreduce* sums_;
  bool profile_;
  std::vector<Run> runs_;         // by node
  std::vector<bool> needs_sums_;  // by node: what the lane of the sums was given must be complete before
  std::vector<NodeTime> times_;   // by node
  bool sums_open_ = false;
};

}  // namespace packhorse

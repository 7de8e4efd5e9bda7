// Gives every activation and every gradient its place in one arena, before the first step.
//
// The lifetime of a buffer runs from the first task that writes it to the last task that reads it; buffers whose
// lifetimes do not overlap share bytes. Time counts tasks: the input is at 0, task t runs forward at t + 1, then comes
// the loss, then backward from the last task to the first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/schedule.h"
#include "tensor/types.h"

namespace packhorse {

struct Lifetime {
  int first = 0, last = 0;  ///< inclusive
};

struct PlannedBuffer {
  std::string name;
  uint64_t bytes = 0;
  std::vector<Lifetime> lifetimes;
  uint64_t offset = 0;
};

struct PlanOptions {
  int64_t batch = 1;
  Dtype dtype = Dtype::f32;
  bool training = true;
  bool recompute = false;
};

/// What a task's backward does to the gradient of one of its sources.
enum class Write { none, assign, accumulate };

struct MemoryPlan {
  std::vector<PlannedBuffer> buffers;
  std::vector<int> activation, gradient;         ///< buffer, by buffer of the schedule; -1: none
  std::vector<int> argmax;                       ///< by task: buffer of a max pool's argmax, or -1
  std::vector<std::vector<Write>> source_write;  ///< by task and source
  std::vector<std::vector<int>> recompute;       ///< by task: the tasks to recompute before its backward
  uint64_t bytes = 0, unplanned_bytes = 0;
};

MemoryPlan plan_memory(const Schedule& schedule, const PlanOptions& options);

/// Gives each buffer, the largest first, the lowest offset at which it shares no byte with a buffer of an overlapping
/// lifetime. Offsets are multiples of `alignment`. Returns the bytes needed.
uint64_t place(std::vector<PlannedBuffer>& buffers, uint64_t alignment);

}  // namespace packhorse

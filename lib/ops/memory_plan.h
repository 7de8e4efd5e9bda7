// Where every activation and gradient stands in one arena, worked out before the first step.
//
// A buffer lives from the first task that writes it to the last that reads it; buffers whose lives do not meet share
// bytes. Time counts tasks: the input at 0, task t forward at t + 1, the loss, then backward from the last task.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/schedule.h"

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
  std::vector<int> activation, gradient;         ///< by buffer of the schedule; gradient -1: none
  std::vector<int> argmax;                       ///< by task: a max pool's memory of places, or -1
  std::vector<std::vector<Write>> source_write;  ///< by task and source
  std::vector<std::vector<int>> recompute;       ///< by task: those to run forward again before its backward
  uint64_t bytes = 0, unplanned_bytes = 0;
};

MemoryPlan plan_memory(const Schedule& schedule, const PlanOptions& options);

/// Gives each buffer the lowest offset at which it meets no other that lives at the same time, the largest first.
/// Returns the bytes needed. Offsets are multiples of `alignment`.
uint64_t place(std::vector<PlannedBuffer>& buffers, uint64_t alignment);

}  // namespace packhorse

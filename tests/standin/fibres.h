// A kernel's threads, on fibres of one OS thread: blocks one after the other in a drawn order, the threads of a block
// in a drawn order, and after each wait again.
//
// A thread that never waits runs to its end on a fibre that the next one goes on with: it costs little more than a
// call. All of a block must meet at __syncthreads, all lanes of a mask at a warp's operation. Who cannot be met any
// more (it has exited, it waits elsewhere) ends the process with the kernel's name, the block and the threads.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace packhorse::standin {

inline constexpr unsigned kWarp = 32, kMaxThreads = 1024;

/// What a thread knows about itself.
struct ThreadPlace {
  uint3 index;
  unsigned rank;  ///< in its block
};

/// What all threads of a block know.
struct BlockPlace {
  uint3 index;
  dim3 threads, grid;
};

/// Of the thread that runs.
extern ThreadPlace* current_thread;
extern BlockPlace current_block;

// What a thread waits in.
void sync_threads();
void sync_warp(unsigned mask);
unsigned ballot(unsigned mask, bool vote);
/// Eight bytes of the lane `source` as it gives them in the same operation; `what` names the operation.
uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, const char* what);

struct KernelRun {
  std::string name;
  dim3 grid, threads;
  void (*call)(void* const* arguments);  ///< the kernel, for the current thread
  void* const* arguments;
  std::function<void()> before_block;  ///< poisons the shared memory
  std::function<void()> after_block;
  uint64_t seed = 0;
};

/// Runs it to its end. One at a time in a process.
void run_kernel(const KernelRun& run);

/// "kernel NAME, block (0, 0, 0), thread (5, 0, 0)" while one runs, or nothing.
std::string place();

/// Whether the address lies in the page that no fibre's stack may grow into.
bool in_stack_guard(const void* address);

}  // namespace packhorse::standin

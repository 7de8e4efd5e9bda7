// What the other stand-ins (libnccl, libcudnn) ask of the stand-in for libcudart: work as a node of a stream.
//
// A node runs later, on the thread of whoever waits, at any time that its predecessors allow. While it runs, the memory
// of its stream's device can be read and written; before and after, it cannot. In a stream that captures, the node goes
// into the graph and runs once for each launch of the graph: what it holds must live as long as the graph.
//
// These are C++ functions that libcudart.so.13 of the stand-in exports. The real one has none of them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

namespace packhorse::standin {

/// Puts `work` at the end of the stream. `what` names it in messages. What CUDA refuses, it refuses: a stream that is
/// unknown or destroyed, a capture that is not valid any more.
cudaError_t enqueue(cudaStream_t stream, const std::string& what, std::function<void()> work);

/// Work that may have to wait for another process or device. `begin` runs when the predecessors have ended, and returns
/// a function that is called, between other nodes, until it returns true.
using Poll = std::function<bool()>;
cudaError_t enqueue_poll(cudaStream_t stream, const std::string& what, std::function<Poll()> begin);

/// Whether the stream captures.
bool is_capturing(cudaStream_t stream);

/// Device of the stream, -1 if there is no such stream.
int device_of(cudaStream_t stream);

/// The bytes of the live allocation on a device that begin at `address`: 0 if it lies in none. Page-locked memory has
/// them too; `device` is -1 there.
std::size_t bytes_from(const void* address, int* device = nullptr);

/// Ends the process: "standin: MESSAGE". For what CUDA leaves undefined, and a test must see.
[[noreturn]] void abort_with(const std::string& message);

/// To be called by a node before it reads or writes: aborts unless all `bytes` lie in one live allocation. `who` names
/// the caller and the argument.
void check_range(const void* address, std::size_t bytes, const std::string& who);

/// Whether this call may not be made now since a capture is under way (as cudaMalloc may not). It invalidates the
/// capture as CUDA does.
bool refused_by_capture();

/// Draws other orders from now on, as if PACKHORSE_STANDIN_SEED had been this.
void set_seed(unsigned long long seed);

/// Runs nodes in a thread of its own too, when nobody waits for some time: other processes wait for them.
void run_in_background();

}  // namespace packhorse::standin

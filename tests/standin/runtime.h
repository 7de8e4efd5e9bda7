// The state behind the stand-in's libcudart: devices, streams, events, captures, graphs, and the rules of using them.
// The functions with CUDA's names (cudart.cc) take the lock, and call these.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "standin/kernel_table.h"
#include "standin/nodes.h"

namespace packhorse::standin {

/// A node of a graph, and which nodes it comes after: by their numbers.
struct Captured {
  std::shared_ptr<const Work> work;
  uint64_t lane;
  std::vector<size_t> after;
};

struct Capture {
  unsigned long long number;
  cudaStreamCaptureMode mode;
  std::thread::id thread;  ///< that began it
  CUstream_st* origin;
  std::vector<Captured> nodes;
  std::vector<CUstream_st*> streams;
  bool valid = true, ended = false;
};

}  // namespace packhorse::standin

/// A destroyed one stays, so that its address names nothing else.
struct CUstream_st {
  uint64_t number;
  int device;
  bool blocking;  ///< waits for the legacy stream, which waits for it
  int priority = 0;
  bool destroyed = false;
  std::vector<packhorse::standin::NodePtr> tail;  ///< what the next node comes after
  std::shared_ptr<packhorse::standin::Capture> capture;
  std::vector<size_t> capture_tail;
};

struct CUevent_st {
  int device;
  bool timing;
  bool destroyed = false;
  packhorse::standin::NodePtr node;  ///< that the last record put into its stream
  std::shared_ptr<packhorse::standin::Capture> capture;
  std::vector<size_t> captured;
};

struct CUgraphNode_st {
  cudaGraphNodeType type;
};

struct CUgraph_st {
  int device;
  std::vector<packhorse::standin::Captured> nodes;
  std::vector<CUgraphNode_st> handles;
  bool destroyed = false;
};

struct CUgraphExec_st {
  int device;
  std::vector<packhorse::standin::Captured> nodes;
  packhorse::standin::NodePtr last;  ///< the end of its last launch
  bool destroyed = false;
};

namespace packhorse::standin {

/// A function that an object built by nvcc has registered.
struct Function {
  const void* host;
  std::string name;
  std::set<int> loaded{};    ///< on these devices
  size_t dynamic_limit = 0;  ///< as cudaFuncSetAttribute has set it
};

/// What the process was started with.
struct Settings {
  Settings();
  /// Which of the machine's devices the process sees: those of CUDA_VISIBLE_DEVICES, if it is set.
  std::vector<int> devices;
  bool driver = true;
  bool trace = false;
  size_t memory = size_t{2} << 30;
  uint64_t seed = 0;
};

class Runtime {
 public:
  explicit Runtime(const Settings& from);

  const int devices;
  Nodes nodes;
  std::mutex& mutex() { return nodes.mutex; }

  // Each handle, or null if it is none that is alive. A stream: the legacy one too.
  CUstream_st* stream(cudaStream_t handle);
  CUevent_st* event(cudaEvent_t handle) const { return alive(events_, handle); }
  CUgraph_st* graph(cudaGraph_t handle) const { return alive(graphs_, handle); }
  CUgraphExec_st* exec(cudaGraphExec_t handle) const { return alive(execs_, handle); }

  CUstream_st* make_stream(int device, bool blocking, int priority);
  CUevent_st* make_event(int device, bool timing);

  cudaError_t enqueue(CUstream_st& stream, Work work);
  cudaError_t record(CUevent_st& event, CUstream_st& stream);
  cudaError_t wait(CUstream_st& stream, CUevent_st& event);
  /// What the host waits for, to wait for the stream.
  std::vector<NodePtr> before(const CUstream_st& stream) const;

  cudaError_t begin_capture(CUstream_st& stream, cudaStreamCaptureMode mode);
  cudaError_t end_capture(CUstream_st& stream, cudaGraph_t* graph);
  cudaError_t instantiate(const CUgraph_st& graph, cudaGraphExec_t* exec);
  cudaError_t launch(CUgraphExec_st& exec, CUstream_st& stream);

  /// Whether this thread may make no call that is unsafe while somebody captures. Then that capture is not valid any
  /// more.
  bool refused_by_capture();
  static cudaError_t invalidate(Capture& capture, cudaError_t error) {
    capture.valid = false;
    return error;
  }
  bool capturing_on(int device) const;

  cudaError_t launch_kernel(Function& function, dim3 grid, dim3 threads, void** arguments, size_t dynamic,
                            CUstream_st& stream);
  cudaError_t copy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, CUstream_st& stream, Lock& lock);
  cudaError_t set(void* dst, int value, size_t bytes, CUstream_st& stream);
  /// All bytes lie in one live allocation.
  bool in_one(const void* address, size_t bytes) const;

 private:
  template <typename T>
  static T* alive(const std::set<T*>& all, T* handle) {
    const auto found = all.find(handle);
    return found == all.end() || (*found)->destroyed ? nullptr : *found;
  }

  std::vector<CUstream_st*> legacy_;
  std::set<CUstream_st*> streams_;
  std::set<CUevent_st*> events_;
  std::set<CUgraph_st*> graphs_;
  std::set<CUgraphExec_st*> execs_;
  std::vector<std::shared_ptr<Capture>> captures_;
  uint64_t numbers_ = 0;
  unsigned long long capture_numbers_ = 0;
};

/// Null if there is no driver or no device.
Runtime* runtime();
const Settings& settings();

// Of the calling thread.
int& current_device();
cudaStreamCaptureMode& capture_mode();

// Registration: before main, and when a plug-in is opened or closed.
void register_function(void** object, const void* host, const char* name);
void unregister_object(void** object);
/// By what names it on the host, or by its cudaKernel_t. Null if nobody has registered it.
Function* find_function(const void* handle);
/// The kernel that it stands for. Ends the process if there is none.
const Kernel& kernel_of(const Function& function);
inline constexpr size_t kSharedDefault = 48 << 10, kSharedLimit = 227 << 10;

}  // namespace packhorse::standin

// A stand-in for libnccl.so.2: sums and broadcasts between processes of one machine, over shared memory, as nodes of
// the stand-in's streams. All ranks add in the order of the ranks, so all have the same bits.
//
// Ranks that do not make the same calls in the same order end with a message that names both calls. A rank that does
// not come is an error of the communicator after a while, and the end of the process if nobody aborts it then.
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "standin/shared_ranks.h"
#include "standin/standin.h"

namespace {

using packhorse::standin::abort_with;
using packhorse::standin::check_range;
using packhorse::standin::Collective;
using packhorse::standin::kChunk;
using packhorse::standin::kMostRanks;
using packhorse::standin::Poll;
using packhorse::standin::SharedRanks;

using Clock = std::chrono::steady_clock;

enum Kind { kAllReduce = 1, kBroadcast = 2 };

// Only as long as a thread lives; a message of another thread is not this one's.
thread_local std::string last_message;

ncclResult_t fail(ncclResult_t result, const std::string& message) {
  last_message = message;
  return result;
}

std::chrono::seconds timeout() {
  const char* text = std::getenv("PACKHORSE_STANDIN_NCCL_TIMEOUT");
  constexpr int kDefault = 60;
  return std::chrono::seconds(text == nullptr ? kDefault : std::max(1, std::atoi(text)));
}

// ---- Types ----------------------------------------------------------------------------------------------------------

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

bool can_add(ncclDataType_t type) {
  return type == ncclFloat16 || type == ncclBfloat16 || type == ncclFloat32 || type == ncclFloat64 ||
         type == ncclInt32 || type == ncclInt64 || type == ncclUint64;
}

const char* name_of(int type) {
  constexpr std::array<const char*, ncclNumTypes> kNames{"i8",  "u8",  "i32", "u32",  "i64",    "u64",
                                                         "f16", "f32", "f64", "bf16", "f8e4m3", "f8e5m2"};
  return type >= 0 && type < ncclNumTypes ? kNames[static_cast<size_t>(type)] : "?";
}

std::string text(const Collective& call) {
  const std::string of = std::to_string(call.count) + " " + name_of(call.type);
  if (call.kind == kBroadcast) return "a broadcast of " + of + " from rank " + std::to_string(call.root);
  constexpr std::array<const char*, ncclNumOps> kNames{"sum", "product", "maximum", "minimum", "average"};
  return std::string("the ") + kNames[static_cast<size_t>(call.operation)] + " of " + of;
}

/// As a device computes: 16-bit numbers are rounded after each addition, and can overflow in it.
template <typename T>
struct Wide {
  using Type = T;
};
template <>
struct Wide<__half> {
  using Type = float;
};
template <>
struct Wide<__nv_bfloat16> {
  using Type = float;
};

template <typename T>
T combine(T one, T other, ncclRedOp_t operation) {
  using W = typename Wide<T>::Type;
  const W x = static_cast<W>(one), y = static_cast<W>(other);
  switch (operation) {
    case ncclProd:
      return static_cast<T>(static_cast<W>(x * y));
    case ncclMax:
      return static_cast<T>(std::max(x, y));
    case ncclMin:
      return static_cast<T>(std::min(x, y));
    default:
      return static_cast<T>(static_cast<W>(x + y));
  }
}

template <typename T>
void reduce(const SharedRanks& ranks, std::byte* dst, size_t count, ncclRedOp_t operation) {
  using W = typename Wide<T>::Type;
  for (size_t i = 0; i < count; ++i) {
    T sum{};
    for (int rank = 0; rank < ranks.ranks(); ++rank) {
      T value{};
      std::memcpy(&value, ranks.bytes_of_rank(rank) + i * sizeof(T), sizeof(T));
      // NCCL divides what each rank gives, before it adds.
      if (operation == ncclAvg)
        value = static_cast<T>(static_cast<W>(static_cast<W>(value) / static_cast<W>(ranks.ranks())));
      sum = rank == 0 ? value : combine(sum, value, operation);
    }
    std::memcpy(dst + i * sizeof(T), &sum, sizeof(T));
  }
}

void reduce_as(ncclDataType_t type, const SharedRanks& ranks, std::byte* dst, size_t count, ncclRedOp_t operation) {
  switch (type) {
    case ncclFloat16:
      return reduce<__half>(ranks, dst, count, operation);
    case ncclBfloat16:
      return reduce<__nv_bfloat16>(ranks, dst, count, operation);
    case ncclFloat32:
      return reduce<float>(ranks, dst, count, operation);
    case ncclFloat64:
      return reduce<double>(ranks, dst, count, operation);
    case ncclInt32:
      return reduce<int>(ranks, dst, count, operation);
    case ncclInt64:
      return reduce<int64_t>(ranks, dst, count, operation);
    default:
      return reduce<uint64_t>(ranks, dst, count, operation);
  }
}

// ---- Communicators --------------------------------------------------------------------------------------------------

/// Nodes of streams and graphs hold it too: it may outlive its handle.
struct Ranks {
  std::unique_ptr<SharedRanks> shared;
  int ranks = 1, rank = 0, device = 0;
  uint64_t chunk = 0;  ///< that comes next
  std::atomic<ncclResult_t> error{ncclSuccess};
  std::atomic<bool> aborted{false};
};

/// One collective that runs: bit by bit, so that nobody waits who could do something else.
class Running {
 public:
  Running(std::shared_ptr<Ranks> ranks, const Collective& call, const void* src, void* dst)
      : ranks_(std::move(ranks)),
        call_(call),
        type_(static_cast<ncclDataType_t>(call.type)),
        src_(static_cast<const std::byte*>(src)),
        dst_(static_cast<std::byte*>(dst)),
        bytes_(call.count * size_of(type_)) {
    if (gives()) check_range(src_, bytes_, text(call_) + ", what it sends");
    check_range(dst_, bytes_, text(call_) + ", what it receives");
    if (gives() && src_ != dst_ && src_ < dst_ + bytes_ && dst_ < src_ + bytes_) {
      abort_with(text(call_) + ": what it sends and what it receives lie over each other");
    }
  }

  bool poll() {
    while (at_ < bytes_) {
      if (ranks_->aborted) return true;
      if (!step()) return gave_up();
      since_ = Clock::now();
    }
    return true;
  }

 private:
  bool gives() const { return call_.kind == kAllReduce || ranks_->rank == call_.root; }

  /// Writes or reads one chunk. False if others have to do something first.
  bool step() {
    SharedRanks& shared = *ranks_->shared;
    const size_t bytes = std::min(kChunk, bytes_ - at_);
    if (!written_) {
      if (!shared.may_write(ranks_->chunk)) return false;
      if (gives()) std::memcpy(shared.mine(), src_ + at_, bytes);
      shared.wrote(ranks_->chunk, call_);
      written_ = true;
    }
    if (!shared.may_read(ranks_->chunk)) return false;
    compare();
    if (call_.kind == kAllReduce) {
      reduce_as(type_, shared, dst_ + at_, bytes / size_of(type_), static_cast<ncclRedOp_t>(call_.operation));
    } else {
      std::memcpy(dst_ + at_, shared.bytes_of_rank(call_.root), bytes);
    }
    shared.read(ranks_->chunk);
    ++ranks_->chunk;
    at_ += bytes;
    written_ = false;
    return true;
  }

  void compare() const {
    for (int rank = 0; rank < ranks_->ranks; ++rank) {
      const Collective other = ranks_->shared->call_of(rank);
      if (other == call_) continue;
      abort_with("ranks do not call the same: rank " + std::to_string(ranks_->rank) + " calls " + text(call_) +
                 ", rank " + std::to_string(rank) + " " + text(other));
    }
  }

  /// Waited in vain: an error first, which somebody may look at and abort the communicator.
  bool gave_up() {
    const auto waited = Clock::now() - since_;
    if (waited < timeout()) return false;
    const int missing = ranks_->shared->missing(ranks_->chunk);
    const std::string other = missing == ranks_->ranks ? "another rank" : "rank " + std::to_string(missing);
    const std::string message = "rank " + std::to_string(ranks_->rank) + " of " + std::to_string(ranks_->ranks) +
                                " waits in " + text(call_) + " for " + other + ", which does not come";
    if (ranks_->error.exchange(ncclRemoteError) == ncclSuccess) std::fprintf(stderr, "standin: %s\n", message.c_str());
    if (waited > 2 * timeout()) abort_with(message);
    return false;
  }

  std::shared_ptr<Ranks> ranks_;
  Collective call_;
  ncclDataType_t type_;
  const std::byte* src_;
  std::byte* dst_;
  size_t bytes_, at_ = 0;
  bool written_ = false;
  Clock::time_point since_ = Clock::now();
};

}  // namespace

struct ncclComm {
  std::shared_ptr<Ranks> ranks = std::make_shared<Ranks>();
  std::string name;
  /// Collectives of one communicator run in the order of their calls, whatever streams they are in. One event for the
  /// streams, one for each capture.
  std::map<unsigned long long, cudaEvent_t> order;
  bool destroyed = false;
};

namespace {

// Between ncclGroupStart and ncclGroupEnd nothing happens: all calls of a group are made at its end.
thread_local int group_depth = 0;
thread_local std::vector<std::function<ncclResult_t()>> group_calls;
thread_local std::vector<ncclComm_t> group_comms;

std::string device_name(int device) {
  std::array<char, 64> host{}, bus{};
  gethostname(host.data(), host.size() - 1);
  if (cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device) != cudaSuccess) return "?";
  const char* node = std::getenv("PACKHORSE_STANDIN_NODE");
  return std::string(bus.data()) + " of " + (node == nullptr ? host.data() : node);
}

/// Waits for the others of a communicator that has joined.
ncclResult_t meet(ncclComm_t comm) {
  const std::string wrong = comm->ranks->shared->wait_for_all(timeout());
  if (!wrong.empty()) {
    std::fprintf(stderr, "standin: ncclCommInitRank: %s\n", wrong.c_str());
    comm->ranks->error = wrong.find("both") == std::string::npos ? ncclRemoteError : ncclInvalidUsage;
    return fail(comm->ranks->error, wrong);
  }
  if (comm->ranks->ranks > 1) packhorse::standin::run_in_background();
  return ncclSuccess;
}

ncclResult_t check(ncclComm_t comm) {
  if (comm == nullptr) return fail(ncclInvalidArgument, "no communicator");
  if (comm->destroyed) return fail(ncclInvalidArgument, "a communicator that was destroyed");
  return comm->ranks->error;
}

/// After the last collective of the communicator, and before the next one: in this capture, or in none.
ncclResult_t enqueue_in_order(ncclComm_t comm, cudaStream_t stream, const Collective& call, const void* src,
                              void* dst) {
  cudaStreamCaptureStatus status{};
  unsigned long long capture = 0;
  if (cudaStreamGetCaptureInfo(stream, &status, &capture, nullptr, nullptr, nullptr, nullptr) != cudaSuccess) {
    return fail(ncclUnhandledCudaError, "a stream that is not there");
  }
  const auto [found, first] = comm->order.try_emplace(capture, nullptr);
  cudaEvent_t& event = found->second;
  if (first && cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) return ncclUnhandledCudaError;
  if (cudaStreamWaitEvent(stream, event, 0) != cudaSuccess) return ncclUnhandledCudaError;
  const auto begin = [ranks = comm->ranks, call, src, dst]() -> Poll {
    return [running = std::make_shared<Running>(ranks, call, src, dst)] { return running->poll(); };
  };
  if (packhorse::standin::enqueue_poll(stream, "nccl: " + text(call), begin) != cudaSuccess) {
    return ncclUnhandledCudaError;
  }
  return cudaEventRecord(event, stream) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t collective(ncclComm_t comm, cudaStream_t stream, const Collective& call, const void* src, void* dst) {
  if (const ncclResult_t error = check(comm); error != ncclSuccess) return error;
  const auto type = static_cast<ncclDataType_t>(call.type);
  const bool sends = call.kind == kAllReduce || comm->ranks->rank == call.root;
  if ((sends && src == nullptr) || dst == nullptr) return fail(ncclInvalidArgument, text(call) + ": no memory");
  if (size_of(type) == 0 || (call.kind == kAllReduce && !can_add(type))) {
    return fail(ncclInvalidArgument, std::string("the stand-in adds no ") + name_of(call.type));
  }
  if (call.root < 0 || call.root >= comm->ranks->ranks) return fail(ncclInvalidArgument, text(call) + ": no such rank");
  if (packhorse::standin::device_of(stream) != comm->ranks->device) {
    return fail(ncclInvalidUsage, text(call) + ": its stream is not on the communicator's device");
  }
  if (call.count == 0) return ncclSuccess;
  const auto enqueue = [=] { return enqueue_in_order(comm, stream, call, src, dst); };
  if (group_depth == 0) return enqueue();
  group_calls.push_back(enqueue);
  return ncclSuccess;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  if (version == nullptr) return fail(ncclInvalidArgument, "ncclGetVersion: no place for it");
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (id == nullptr) return fail(ncclInvalidArgument, "ncclGetUniqueId: no place for it");
  std::random_device random;
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "/packhorse-standin-%d-%08x%08x", getpid(), random(), random());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  if (comm == nullptr || ranks < 1 || rank < 0 || rank >= ranks) return fail(ncclInvalidArgument, "ncclCommInitRank");
  if (ranks > kMostRanks) abort_with("ncclCommInitRank: the stand-in has 16 ranks at most");
  const std::string name(id.internal, strnlen(id.internal, sizeof id.internal));
  if (!name.starts_with("/packhorse-standin-")) return fail(ncclInvalidArgument, "ncclCommInitRank: no unique id");
  int device = 0;
  if (packhorse::standin::refused_by_capture() || cudaGetDevice(&device) != cudaSuccess) {
    return fail(ncclUnhandledCudaError, "ncclCommInitRank: no device, or somebody captures");
  }
  auto* made = new ncclComm;
  made->ranks->ranks = ranks;
  made->ranks->rank = rank;
  made->ranks->device = device;
  made->ranks->shared = std::make_unique<SharedRanks>(name, ranks, rank, device_name(device));
  *comm = made;
  if (group_depth > 0) {
    group_comms.push_back(made);
    return ncclSuccess;
  }
  return meet(made);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* /*config*/) {
  return ncclCommInitRank(comm, ranks, id, rank);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) { return check(comm); }

// Its memory stays: a handle that is used again must be seen.
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm == nullptr) return ncclSuccess;
  if (comm->destroyed) return fail(ncclInvalidArgument, "ncclCommDestroy: destroyed before");
  comm->destroyed = true;
  for (const auto& [capture, event] : comm->order) (void)cudaEventDestroy(event);
  comm->order.clear();
  comm->ranks.reset(new Ranks);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm == nullptr) return ncclSuccess;
  if (comm->destroyed) return fail(ncclInvalidArgument, "ncclCommAbort: destroyed before");
  comm->ranks->aborted = true;
  return ncclCommDestroy(comm);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm == nullptr || comm->destroyed || error == nullptr) return fail(ncclInvalidArgument, "ncclCommGetAsyncError");
  *error = comm->ranks->error;
  return ncclSuccess;
}
ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  if (comm == nullptr || comm->destroyed || count == nullptr) return fail(ncclInvalidArgument, "ncclCommCount");
  *count = comm->ranks->ranks;
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  if (comm == nullptr || comm->destroyed || rank == nullptr) return fail(ncclInvalidArgument, "ncclCommUserRank");
  *rank = comm->ranks->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int* device) {
  if (comm == nullptr || comm->destroyed || device == nullptr) return fail(ncclInvalidArgument, "ncclCommCuDevice");
  *device = comm->ranks->device;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* src, void* dst, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t comm, cudaStream_t stream) {
  if (operation < 0 || operation >= ncclNumOps) return fail(ncclInvalidArgument, "ncclAllReduce: no such operation");
  return collective(comm, stream, {kAllReduce, type, operation, 0, count}, src, dst);
}
ncclResult_t ncclBroadcast(const void* src, void* dst, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return collective(comm, stream, {kBroadcast, type, 0, root, count}, src, dst);
}
ncclResult_t ncclBcast(void* data, size_t count, ncclDataType_t type, int root, ncclComm_t comm, cudaStream_t stream) {
  return ncclBroadcast(data, data, count, type, root, comm, stream);
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return fail(ncclInvalidUsage, "ncclGroupEnd: no group has begun");
  if (--group_depth > 0) return ncclSuccess;
  ncclResult_t result = ncclSuccess;
  for (const ncclComm_t comm : std::exchange(group_comms, {}))
    if (const ncclResult_t error = meet(comm); error != ncclSuccess) result = error;
  for (const auto& call : std::exchange(group_calls, {}))
    if (const ncclResult_t error = call(); error != ncclSuccess) result = error;
  return result;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError:
      return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
      return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument:
      return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
      return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}
const char* ncclGetLastError(ncclComm_t /*comm*/) { return last_message.c_str(); }

}  // extern "C"

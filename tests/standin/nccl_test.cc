// Sums between processes, each with its own stand-in: right, the same bits everywhere, and their faults seen.
#include <fcntl.h>
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "standin/device_test.h"

namespace packhorse::standin {
namespace {

#define EXPECT_NCCL(call) EXPECT_EQ(call, ncclSuccess) << ncclGetLastError(nullptr)

using Body = std::function<void(int rank, const ncclUniqueId& id)>;

/// Runs a body for each rank, in a process of its own, each on another node. Returns what they wrote to stderr, and
/// what they ended with.
struct Ended {
  std::vector<int> statuses;
  std::string errors;
  bool well() const {
    return std::ranges::all_of(statuses, [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; });
  }
};
Ended run_ranks(int ranks, const Body& body, const char* timeout = "20") {
  ncclUniqueId id{};
  EXPECT_NCCL(ncclGetUniqueId(&id));
  Ended ended;
  std::vector<pid_t> children;
  const std::string file = testing::TempDir() + "standin_ranks_" + std::to_string(getpid());
  std::ofstream(file, std::ios::trunc).close();
  for (int rank = 0; rank < ranks; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      const int errors = open(file.c_str(), O_WRONLY | O_APPEND);
      if (errors < 0 || dup2(errors, STDERR_FILENO) < 0 || dup2(errors, STDOUT_FILENO) < 0) _exit(2);
      setenv("PACKHORSE_STANDIN_NCCL_TIMEOUT", timeout, 1);
      setenv("PACKHORSE_STANDIN_NODE", std::to_string(rank).c_str(), 0);
      set_seed(static_cast<unsigned long long>(rank));
      body(rank, id);
      std::fflush(nullptr);
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    ended.statuses.push_back(status);
  }
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  ended.errors = text.str();
  std::remove(file.c_str());
  return ended;
}

testing::AssertionResult says(const std::string& errors, const std::string& message) {
  if (errors.find(message) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "no '" << message << "' in: " << errors;
}

/// From now on: to come to the first meeting may take its time on a busy machine.
void wait_a_second_only() { setenv("PACKHORSE_STANDIN_NCCL_TIMEOUT", "1", 1); }

class Communicator {
 public:
  Communicator(int ranks, int rank, const ncclUniqueId& id) { EXPECT_NCCL(ncclCommInitRank(&comm_, ranks, id, rank)); }
  ~Communicator() { EXPECT_NCCL(ncclCommDestroy(comm_)); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  operator ncclComm_t() const { return comm_; }

 private:
  ncclComm_t comm_ = nullptr;
};

/// Numbers whose sum depends on the order of the additions.
template <typename T>
std::vector<T> numbers(int rank, size_t count) {
  std::vector<T> all(count);
  for (size_t i = 0; i < count; ++i) {
    all[i] = T(static_cast<float>(static_cast<double>(i % 97 + 1) * (rank + 1) / 7 * (rank % 2 == 0 ? 1 : -100)));
  }
  return all;
}

template <typename T>
std::vector<T> sum_of(int ranks, size_t count, bool average) {
  std::vector<T> sum;
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<T> part = numbers<T>(rank, count);
    if constexpr (sizeof(T) == 2) {
      for (T& x : part) x = average ? T(static_cast<float>(x) / static_cast<float>(ranks)) : x;
      for (size_t i = 0; rank > 0 && i < count; ++i)
        sum[i] = T(static_cast<float>(sum[i]) + static_cast<float>(part[i]));
    } else {
      for (T& x : part) x = average ? x / static_cast<T>(ranks) : x;
      for (size_t i = 0; rank > 0 && i < count; ++i) sum[i] += part[i];
    }
    if (rank == 0) sum = part;
  }
  return sum;
}

template <typename T>
void expect_sums(ncclComm_t comm, int ranks, int rank, ncclDataType_t type, size_t count) {
  const TestStream stream;
  for (const ncclRedOp_t operation : {ncclSum, ncclAvg}) {
    const DeviceArray<T> src(numbers<T>(rank, count)), dst(count);
    EXPECT_NCCL(ncclAllReduce(src.data(), dst.data(), count, type, operation, comm, stream));
    EXPECT_NCCL(ncclAllReduce(src.data(), src.data(), count, type, operation, comm, stream));  // in place
    EXPECT_CUDA(stream.synchronize());
    const std::vector<T> want = sum_of<T>(ranks, count, operation == ncclAvg);
    EXPECT_EQ(std::memcmp(dst.read().data(), want.data(), count * sizeof(T)), 0);
    EXPECT_EQ(std::memcmp(src.read().data(), want.data(), count * sizeof(T)), 0);
  }
}

TEST(StandinNccl, SumsOfEveryType) {
  static constexpr int kRanks = 3;
  const Ended ended = run_ranks(kRanks, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(kRanks, rank, id);
    int count = 0, number = -1, device = -1, version = 0;
    EXPECT_NCCL(ncclCommCount(comm, &count));
    EXPECT_NCCL(ncclCommUserRank(comm, &number));
    EXPECT_NCCL(ncclCommCuDevice(comm, &device));
    EXPECT_NCCL(ncclGetVersion(&version));
    EXPECT_EQ(count, kRanks);
    EXPECT_EQ(number, rank);
    EXPECT_EQ(device, 0);
    EXPECT_EQ(version, NCCL_VERSION_CODE);
    expect_sums<float>(comm, kRanks, rank, ncclFloat32, 700001);  // more than one chunk
    expect_sums<double>(comm, kRanks, rank, ncclFloat64, 100);
    expect_sums<__half>(comm, kRanks, rank, ncclFloat16, 1001);
    expect_sums<__nv_bfloat16>(comm, kRanks, rank, ncclBfloat16, 1);
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, OneRank) {
  const Ended ended = run_ranks(1, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(1, rank, id);
    expect_sums<float>(comm, 1, rank, ncclFloat32, 100);
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, Broadcast) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const DeviceArray<float> x(numbers<float>(rank, 300000));
    EXPECT_NCCL(ncclBroadcast(rank == 1 ? x.data() : nullptr, x.data(), 300000, ncclFloat32, 1, comm, nullptr));
    EXPECT_EQ(x.read(), numbers<float>(1, 300000));
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, CapturedAndReplayed) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const TestStream main, sums;
    const TestEvent forked, joined;
    const DeviceArray<float> x(std::vector<float>(10, static_cast<float>(rank + 1))), y(10);
    for (const char* name : {"fill", "add"}) load(name);
    EXPECT_CUDA(cudaStreamBeginCapture(main, cudaStreamCaptureModeThreadLocal));
    EXPECT_CUDA(cudaEventRecord(forked, main));
    EXPECT_CUDA(cudaStreamWaitEvent(sums, forked, 0));
    EXPECT_NCCL(ncclAllReduce(x.data(), y.data(), 5, ncclFloat32, ncclSum, comm, sums));
    EXPECT_NCCL(ncclAllReduce(x.data() + 5, y.data() + 5, 5, ncclFloat32, ncclSum, comm, sums));
    EXPECT_CUDA(cudaEventRecord(joined, sums));
    EXPECT_CUDA(cudaStreamWaitEvent(main, joined, 0));
    EXPECT_CUDA(launch("add", 1, 32, main, x.data(), static_cast<const float*>(y.data()), 10));
    cudaGraph_t graph = nullptr;
    EXPECT_CUDA(cudaStreamEndCapture(main, &graph));
    cudaGraphExec_t exec = nullptr;
    EXPECT_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; ++i) EXPECT_CUDA(cudaGraphLaunch(exec, main));
    EXPECT_CUDA(main.synchronize());
    // x + (x + x'), three times, from 1 and 2: 4 and 5, 13 and 14, 40 and 41.
    EXPECT_EQ(x.read(), std::vector<float>(10, static_cast<float>(40 + rank)));
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, CallsOfTwoStreamsKeepTheirOrder) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const TestStream one, two;
    const DeviceArray<float> x(std::vector<float>{1}), y(std::vector<float>{1, 1});
    for (int i = 0; i < 20; ++i) {
      EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, one));
      EXPECT_NCCL(ncclAllReduce(y.data(), y.data(), 2, ncclFloat32, ncclSum, comm, two));
    }
    EXPECT_CUDA(cudaDeviceSynchronize());
    EXPECT_EQ(x.read(), std::vector<float>{1 << 20});
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, AGroupIsCalledAtItsEnd) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const TestStream stream;
    const DeviceArray<float> x(std::vector<float>{1}), y(std::vector<float>{2});
    EXPECT_NCCL(ncclGroupStart());
    EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, stream));
    EXPECT_NCCL(ncclAllReduce(y.data(), y.data(), 1, ncclFloat32, ncclMax, comm, stream));
    EXPECT_CUDA(cudaMemsetAsync(x.data(), 0, 4, stream));  // so this comes before
    EXPECT_NCCL(ncclGroupEnd());
    EXPECT_CUDA(stream.synchronize());
    EXPECT_EQ(x.read(), std::vector<float>{0});
    EXPECT_EQ(y.read(), std::vector<float>{2});
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, NobodyHasToWaitForTheOthersToGoOn) {
  // Rank 1 does something else on the host until rank 0 has its sum.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Ended ended = run_ranks(2, [&](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const TestStream stream;
    const DeviceArray<float> x(std::vector<float>{1});
    char byte = 0;
    EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, stream));
    if (rank == 1) {
      EXPECT_EQ(read(ends[0], &byte, 1), 1);
    }
    EXPECT_CUDA(stream.synchronize());
    if (rank == 0) {
      EXPECT_EQ(write(ends[1], &byte, 1), 1);
    }
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
  close(ends[0]);
  close(ends[1]);
}

TEST(StandinNcclDeathTest, TwoDevicesOfOneProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("PACKHORSE_STANDIN_DEVICES", "2", 1);
  const auto body = [] {
    ncclUniqueId id{};
    EXPECT_NCCL(ncclGetUniqueId(&id));
    ncclComm_t comms[2];
    EXPECT_NCCL(ncclGroupStart());
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_CUDA(cudaSetDevice(rank));
      EXPECT_NCCL(ncclCommInitRank(&comms[rank], 2, id, rank));
    }
    EXPECT_NCCL(ncclGroupEnd());
    std::vector<std::unique_ptr<DeviceArray<float>>> x;
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_CUDA(cudaSetDevice(rank));
      x.push_back(std::make_unique<DeviceArray<float>>(std::vector<float>{static_cast<float>(rank + 1)}));
      EXPECT_NCCL(ncclAllReduce(x[static_cast<size_t>(rank)]->data(), x[static_cast<size_t>(rank)]->data(), 1,
                                ncclFloat32, ncclSum, comms[rank], nullptr));
    }
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_CUDA(cudaSetDevice(rank));
      EXPECT_EQ(x[static_cast<size_t>(rank)]->read(), std::vector<float>{3});
      EXPECT_NCCL(ncclCommDestroy(comms[rank]));
    }
    std::exit(testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
  unsetenv("PACKHORSE_STANDIN_DEVICES");
  GTEST_FLAG_SET(death_test_style, "fast");
}

// ---- Faults ---------------------------------------------------------------------------------------------------------

TEST(StandinNccl, TwoRanksOnOneDevice) {
  setenv("PACKHORSE_STANDIN_NODE", "same", 1);
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    ncclComm_t comm = nullptr;
    EXPECT_EQ(ncclCommInitRank(&comm, 2, id, rank), ncclInvalidUsage);
    EXPECT_STREQ(ncclGetLastError(comm), "ranks 0 and 1 are both on device 0000:10:00.0 of same");
  });
  unsetenv("PACKHORSE_STANDIN_NODE");
  EXPECT_TRUE(ended.well()) << ended.errors;
}

TEST(StandinNccl, CallsThatDiffer) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    const DeviceArray<float> x(20);
    if (rank == 0) {
      EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 10, ncclFloat32, ncclSum, comm, nullptr));
    } else {
      EXPECT_NCCL(ncclBroadcast(x.data(), x.data(), 20, ncclFloat16, 1, comm, nullptr));
    }
    (void)cudaDeviceSynchronize();
  });
  EXPECT_FALSE(ended.well());
  EXPECT_TRUE(says(ended.errors, "ranks do not call the same: rank "));
  EXPECT_TRUE(says(ended.errors, "the sum of 10 f32"));
  EXPECT_TRUE(says(ended.errors, "a broadcast of 20 f16 from rank 1"));
}

TEST(StandinNccl, ARankThatNeverComes) {
  const auto alone = [](int rank, const ncclUniqueId& id) {
    if (rank == 1) return;
    ncclComm_t comm = nullptr;
    EXPECT_EQ(ncclCommInitRank(&comm, 2, id, 0), ncclRemoteError);
    EXPECT_STREQ(ncclGetLastError(comm), "rank 1 of 2 has not come");
  };
  EXPECT_TRUE(run_ranks(2, alone, "1").well());
}

TEST(StandinNccl, ARankThatGoesIsAnErrorThatCanBeAborted) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    ncclComm_t comm = nullptr;
    EXPECT_NCCL(ncclCommInitRank(&comm, 2, id, rank));
    if (rank == 1) return;
    wait_a_second_only();
    const TestStream stream;
    const DeviceArray<float> x(std::vector<float>{1});
    EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, stream));
    ncclResult_t error = ncclSuccess;
    while (error == ncclSuccess && cudaStreamQuery(stream) == cudaErrorNotReady) {
      EXPECT_NCCL(ncclCommGetAsyncError(comm, &error));
    }
    EXPECT_EQ(error, ncclRemoteError);
    EXPECT_EQ(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, stream), ncclRemoteError);
    EXPECT_NCCL(ncclCommAbort(comm));
    EXPECT_CUDA(stream.synchronize());
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
  EXPECT_TRUE(says(ended.errors, "rank 0 of 2 waits in the sum of 1 f32 for rank 1, which does not come"));
}

TEST(StandinNccl, ARankThatGoesIsTheEndOfWhoeverWaits) {
  const Ended ended = run_ranks(2, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(2, rank, id);
    if (rank == 1) return;
    wait_a_second_only();
    const DeviceArray<float> x(std::vector<float>{1});
    EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 1, ncclFloat32, ncclSum, comm, nullptr));
    (void)cudaDeviceSynchronize();
  });
  EXPECT_TRUE(WIFSIGNALED(ended.statuses[0]));
  EXPECT_TRUE(says(ended.errors, "for rank 1, which does not come"));
}

TEST(StandinNccl, WrongCalls) {
  const Ended ended = run_ranks(1, [](int rank, const ncclUniqueId& id) {
    ncclComm_t comm = nullptr;
    EXPECT_EQ(ncclCommInitRank(&comm, 1, ncclUniqueId{}, 0), ncclInvalidArgument);
    EXPECT_EQ(ncclCommInitRank(&comm, 1, id, 1), ncclInvalidArgument);
    EXPECT_NCCL(ncclCommInitRank(&comm, 1, id, rank));
    const DeviceArray<float> x(4);
    EXPECT_EQ(ncclAllReduce(nullptr, x.data(), 4, ncclFloat32, ncclSum, comm, nullptr), ncclInvalidArgument);
    EXPECT_EQ(ncclAllReduce(x.data(), x.data(), 4, ncclNumTypes, ncclSum, comm, nullptr), ncclInvalidArgument);
    EXPECT_EQ(ncclBroadcast(x.data(), x.data(), 4, ncclFloat32, 1, comm, nullptr), ncclInvalidArgument);
    EXPECT_NCCL(ncclCommDestroy(comm));
    EXPECT_EQ(ncclCommDestroy(comm), ncclInvalidArgument);
    EXPECT_EQ(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, nullptr), ncclInvalidArgument);
  });
  EXPECT_TRUE(ended.well()) << ended.errors;
  const Ended too_long = run_ranks(1, [](int rank, const ncclUniqueId& id) {
    const Communicator comm(1, rank, id);
    const DeviceArray<float> x(4);
    EXPECT_NCCL(ncclAllReduce(x.data(), x.data(), 5, ncclFloat32, ncclSum, comm, nullptr));
    (void)cudaDeviceSynchronize();
  });
  EXPECT_TRUE(says(too_long.errors, "the sum of 5 f32, what it sends: 20 bytes from"));
}

}  // namespace
}  // namespace packhorse::standin

// Orders of streams and graphs: right programs are right in all of them, and a missing edge shows in some.
#include <functional>
#include <thread>

#include "standin/device_test.h"

namespace packhorse::standin {
namespace {

constexpr int kCount = 64;

/// Two streams: one fills x and y, one adds them; then x is scaled by y's first number.
class Program {
 public:
  struct Fault {
    bool no_wait_to_add = false, no_wait_to_scale = false, early_record = false;
  };
  Program() : Program(Fault{}) {}
  explicit Program(const Fault& planted) : fault_(planted) {}

  void run() const {
    const float* constant = y.data();
    EXPECT_CUDA(launch("fill", 2, 32, main, x.data(), kCount, 3.0F));
    const auto record = [this] { EXPECT_CUDA(cudaEventRecord(filled_, main)); };
    if (fault_.early_record) record();
    EXPECT_CUDA(launch("fill", 2, 32, main, y.data(), kCount, 2.0F));
    if (!fault_.early_record) record();
    if (!fault_.no_wait_to_add) wait(side, filled_);
    EXPECT_CUDA(launch("add", 2, 32, side, x.data(), constant, kCount));
    EXPECT_CUDA(cudaEventRecord(added_, side));
    if (!fault_.no_wait_to_scale) wait(main, added_);
    EXPECT_CUDA(launch("scale", 2, 32, main, x.data(), kCount, constant));
  }
  /// In how many orders its result is not the right one.
  int wrong(const std::function<void()>& step) const {
    int count = 0;
    for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
      set_seed(seed);
      EXPECT_CUDA(cudaMemset(x.data(), 0xff, kCount * sizeof(float)));
      EXPECT_CUDA(cudaMemset(y.data(), 0xff, kCount * sizeof(float)));
      EXPECT_CUDA(cudaDeviceSynchronize());
      step();
      EXPECT_CUDA(main.synchronize());
      EXPECT_CUDA(side.synchronize());
      if (x.read() != std::vector<float>(kCount, 10.0F)) ++count;
    }
    return count;
  }
  int wrong() const {
    return wrong([this] { run(); });
  }

  const TestStream main, side;

 private:
  static void wait(cudaStream_t stream, cudaEvent_t event) { EXPECT_CUDA(cudaStreamWaitEvent(stream, event, 0)); }

  const Fault fault_;
  const TestEvent filled_, added_;
  const DeviceArray<float> x{kCount}, y{kCount};
};

TEST(StandinOrders, ARightProgramIsRightInAll) { EXPECT_EQ(Program{}.wrong(), 0); }

TEST(StandinOrders, AMissingWaitShowsInSome) {
  EXPECT_GE(Program({.no_wait_to_add = true}).wrong(), 1);
  EXPECT_GE(Program({.no_wait_to_scale = true}).wrong(), 1);
  EXPECT_GE(Program({.early_record = true}).wrong(), 1);
}

/// A graph of what `body` enqueues.
cudaGraphExec_t capture(cudaStream_t stream, const std::function<void()>& body) {
  for (const char* name : {"fill", "add", "scale", "touch"}) load(name);
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  body();
  cudaGraph_t graph = nullptr;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec = nullptr;
  EXPECT_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  return exec;
}

TEST(StandinOrders, AGraphDoesTheSame) {
  const Program program;
  cudaGraphExec_t exec = capture(program.main, [&] { program.run(); });
  for (int replay = 0; replay < 3; ++replay) {
    EXPECT_EQ(program.wrong([&] { EXPECT_CUDA(cudaGraphLaunch(exec, program.main)); }), 0);
  }
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
  EXPECT_EQ(cudaGraphLaunch(exec, program.main), cudaErrorInvalidValue);
}

TEST(StandinOrders, AMissingEdgeInAGraphShowsInSome) {
  // The record is too early by one launch: a capture sees nothing wrong in it.
  const Program program({.early_record = true});
  cudaGraphExec_t exec = capture(program.main, [&] { program.run(); });
  const int wrong = program.wrong([&] { EXPECT_CUDA(cudaGraphLaunch(exec, program.main)); });
  EXPECT_GE(wrong, 1);
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
}

TEST(StandinOrders, NodesOfAGraphAreCounted) {
  const Program program;
  for (const char* name : {"fill", "add", "scale"}) load(name);
  ASSERT_CUDA(cudaStreamBeginCapture(program.main, cudaStreamCaptureModeThreadLocal));
  program.run();
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamEndCapture(program.main, &graph));
  size_t count = 0;
  ASSERT_CUDA(cudaGraphGetNodes(graph, nullptr, &count));
  EXPECT_EQ(count, 4U);
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST(StandinOrders, LaunchesOfOneGraphFollowEachOther) {
  // 100 additions of 1 to one number, from two streams that nothing else joins.
  const TestStream one, two;
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    const DeviceArray<float> x(std::vector<float>{0}), y(std::vector<float>{1}), copy(1);
    cudaGraphExec_t exec = capture(one, [&] {
      // Reads, then writes: two of them at once would lose one.
      EXPECT_CUDA(cudaMemcpyAsync(copy.data(), x.data(), sizeof(float), cudaMemcpyDeviceToDevice, one));
      EXPECT_CUDA(launch("add", 1, 1, one, copy.data(), static_cast<const float*>(y.data()), 1));
      EXPECT_CUDA(cudaMemcpyAsync(x.data(), copy.data(), sizeof(float), cudaMemcpyDeviceToDevice, one));
    });
    for (int i = 0; i < 50; ++i) {
      ASSERT_CUDA(cudaGraphLaunch(exec, one));
      ASSERT_CUDA(cudaGraphLaunch(exec, two));
    }
    ASSERT_CUDA(one.synchronize());
    ASSERT_CUDA(two.synchronize());
    EXPECT_EQ(x.read(), std::vector<float>{100});
    EXPECT_CUDA(cudaGraphExecDestroy(exec));
  }
}

TEST(StandinOrders, ValuesAreFrozenAtTheCapture) {
  const TestStream stream;
  const DeviceArray<float> x(kCount);
  float value = 1;
  cudaGraphExec_t exec = capture(stream, [&] { EXPECT_CUDA(launch("fill", 2, 32, stream, x.data(), kCount, value)); });
  value = 2;
  ASSERT_CUDA(cudaGraphLaunch(exec, stream));
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(x.read(), std::vector<float>(kCount, 1.0F));
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
}

TEST(StandinOrders, TheLegacyStreamWaitsForBlockingStreams) {
  cudaStream_t blocking = nullptr;
  ASSERT_CUDA(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault));
  const TestStream free;
  int wrong = 0;
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    const DeviceArray<float> x(std::vector<float>{0}), y(std::vector<float>{0});
    for (int i = 0; i < 5; ++i) ASSERT_CUDA(launch("touch", 1, 1, blocking, x.data(), 0L));
    for (int i = 0; i < 5; ++i) ASSERT_CUDA(launch("touch", 1, 1, free, y.data(), 0L));
    EXPECT_EQ(x.read(), std::vector<float>{5});
    if (y.read() != std::vector<float>{5}) ++wrong;
    ASSERT_CUDA(free.synchronize());
  }
  EXPECT_GE(wrong, 1);
  EXPECT_CUDA(cudaStreamDestroy(blocking));
}

TEST(StandinOrders, AFunctionOnTheHostHasItsPlace) {
  const TestStream stream;
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    std::vector<int> order;
    struct Step {
      std::vector<int>* order;
      int number;
    };
    std::vector<Step> steps;
    steps.reserve(5);
    for (int i = 0; i < 5; ++i) steps.push_back({&order, i});
    for (Step& step : steps) {
      const auto append = [](void* data) {
        const auto* it = static_cast<Step*>(data);
        it->order->push_back(it->number);
      };
      ASSERT_CUDA(cudaLaunchHostFunc(stream, append, &step));
    }
    EXPECT_TRUE(order.empty());
    ASSERT_CUDA(stream.synchronize());
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  }
}

TEST(StandinOrders, ThreadsOfTheHostWaitForTheirOwn) {
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([number] {
      const TestStream stream;
      const DeviceArray<float> x(kCount), y(std::vector<float>(kCount, static_cast<float>(number)));
      for (int i = 0; i < 50; ++i) {
        EXPECT_CUDA(launch("fill", 2, 32, stream, x.data(), kCount, 1.0F));
        EXPECT_CUDA(launch("add", 2, 32, stream, x.data(), static_cast<const float*>(y.data()), kCount));
        std::vector<float> got(kCount);
        EXPECT_CUDA(cudaMemcpyAsync(got.data(), x.data(), kCount * sizeof(float), cudaMemcpyDeviceToHost, stream));
        EXPECT_EQ(got, std::vector<float>(kCount, static_cast<float>(1 + number)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(StandinOrders, WorkOfOtherStandIns) {
  // As cuDNN's stand-in enqueues: the memory is open while it runs, and a part that polls lets others go on.
  const TestStream stream, other;
  const DeviceArray<float> x(std::vector<float>{1});
  float* at = x.data();
  bool arrived = false;
  ASSERT_CUDA(enqueue_poll(stream, "wait for the other stream",
                           [&arrived]() -> Poll { return [&arrived] { return arrived; }; }));
  ASSERT_CUDA(enqueue(stream, "double it", [at] {
    check_range(at, sizeof(float), "double it");
    *at *= 2;
  }));
  ASSERT_CUDA(enqueue(other, "let it go", [&arrived] { arrived = true; }));
  EXPECT_FALSE(is_capturing(stream));
  EXPECT_EQ(device_of(stream), 0);
  EXPECT_EQ(bytes_from(at), sizeof(float));
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(x.read(), std::vector<float>{2});
}

}  // namespace
}  // namespace packhorse::standin

// Kernels on fibres: that they are right in every drawn order, and that their faults are seen.
#include <cmath>
#include <numeric>
#include <set>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "standin/device_test.h"

namespace packhorse::standin {
namespace {

constexpr int kRows = 300, kColumns = 7;

/// Whole numbers, so that sums are exact in every order.
template <typename T>
std::vector<T> matrix() {
  std::vector<T> all(kRows * kColumns);
  for (size_t i = 0; i < all.size(); ++i) all[i] = T(static_cast<float>(i % 13));
  return all;
}

template <typename T>
void expect_column_sums(const char* name) {
  std::vector<float> want(kColumns);
  for (int i = 0; i < kRows * kColumns; ++i) want[static_cast<size_t>(i % kColumns)] += static_cast<float>(i % 13);
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    const TestStream stream;
    const DeviceArray<T> src(matrix<T>());
    const DeviceArray<float> dst(kColumns);
    ASSERT_CUDA(launch(name, kColumns, 128, stream, src.data(), dst.data(), kRows, kColumns));
    ASSERT_CUDA(stream.synchronize());
    EXPECT_EQ(dst.read(), want) << "seed " << seed;
  }
}

TEST(StandinKernels, ReductionsAreRightInEveryOrder) {
  expect_column_sums<float>("column_sums<float>");
  expect_column_sums<__half>("column_sums<half>");
  expect_column_sums<__nv_bfloat16>("column_sums<bf16>");
}

TEST(StandinKernels, TheLastBlockSeesAllOthers) {
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    std::vector<float> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 0.0F);
    const DeviceArray<float> src(numbers), sum(std::vector<float>{0}), dst(1);
    const DeviceArray<unsigned> done(std::vector<unsigned>{0});
    ASSERT_CUDA(launch("mean", 8, 128, nullptr, src.data(), src.count(), sum.data(), done.data(), dst.data()));
    EXPECT_EQ(dst.read(), std::vector<float>{499.5F});
  }
}

TEST(StandinKernels, ThreadsAndBlocksHaveThreeNumbers) {
  const DeviceArray<unsigned> dst(5 * 3 * 2 * 4 * 3 * 2);
  ASSERT_CUDA(launch("numbers", dim3(5, 3, 2), dim3(4, 3, 2), nullptr, dst.data()));
  std::vector<unsigned> want(static_cast<size_t>(dst.count()));
  std::iota(want.begin(), want.end(), 0U);
  EXPECT_EQ(dst.read(), want);
}

TEST(StandinKernels, TheWordsOfAWarp) {
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    const DeviceArray<int> dst(8 * 32);
    ASSERT_CUDA(launch("warp_words", 1, 32, nullptr, dst.data()));
    const std::vector<int> got = dst.read();
    for (int lane = 0; lane < 32; ++lane) {
      const int* mine = got.data() + static_cast<size_t>(8 * lane);
      EXPECT_EQ(mine[0], 5);
      EXPECT_EQ(mine[1], lane < 3 ? lane : lane - 3);
      EXPECT_EQ(mine[2], lane % 8 < 5 ? lane + 3 : lane);
      EXPECT_EQ(mine[3], lane ^ 7);
      EXPECT_EQ(static_cast<unsigned>(mine[4]), 0x49249249U);
      EXPECT_EQ(mine[5], 5);
      EXPECT_EQ(mine[6], lane < 16 ? lane ^ 1 : lane ^ 2);
      EXPECT_EQ(mine[7], 2 * (lane ^ 1) + 1);
    }
  }
}

TEST(StandinKernels, SharedMemoryOfBothKinds) {
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    std::vector<float> numbers(256);
    std::iota(numbers.begin(), numbers.end(), 0.0F);
    const DeviceArray<float> x(numbers);
    ASSERT_CUDA(launch_with("turn_round", 2, 128, 128 * sizeof(float), nullptr, x.data()));
    ASSERT_CUDA(launch("turn_round_static<128>", 2, 128, nullptr, x.data()));
    EXPECT_EQ(x.read(), numbers);
    ASSERT_CUDA(launch("turn_round_static<256>", 1, 256, nullptr, x.data()));
    std::reverse(numbers.begin(), numbers.end());
    EXPECT_EQ(x.read(), numbers);
  }
}

TEST(StandinKernels, TheCompilersOwnLaunch) {
  const TestStream stream;
  const DeviceArray<float> x(300);
  plugin<void (*)(float*, int, float, cudaStream_t)>("launch_fill")(x.data(), x.count(), 2.5F, stream);
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(x.read(), std::vector<float>(300, 2.5F));
  const DeviceArray<float> sums(32);
  plugin<void (*)(float*, cudaStream_t)>("launch_by_value")(sums.data(), stream);
  ASSERT_CUDA(stream.synchronize());
  EXPECT_EQ(sums.read(), std::vector<float>(32, 31.0F));
}

TEST(StandinKernels, AttributesAndOccupancy) {
  cudaFuncAttributes attributes{};
  ASSERT_CUDA(cudaFuncGetAttributes(&attributes, kernel("turn_round_static<256>")));
  EXPECT_EQ(attributes.sharedSizeBytes, 256 * sizeof(float));
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  int blocks = 0;
  ASSERT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel("turn_round_static<256>"), 256, 0));
  EXPECT_EQ(blocks, 8);
  ASSERT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel("turn_round"), 256, 100 << 10));
  EXPECT_EQ(blocks, 2);
}

// ---- Faults ---------------------------------------------------------------------------------------------------------

/// Launches a kernel of one parameter, and waits.
template <typename T>
void run_fault(const char* name, int threads, T parameter) {
  (void)launch(name, 1, static_cast<unsigned>(threads), nullptr, parameter);
  (void)cudaDeviceSynchronize();
}

TEST(StandinKernelsDeathTest, IncompleteBarriers) {
  const DeviceArray<float> x(64);
  EXPECT_DEATH(run_fault("barrier_in_a_branch", 64, x.data()),
               "standin: incomplete barrier: kernel packhorse::test_kernels::barrier_in_a_branch\\(float\\*\\), block "
               "\\(0, 0, 0\\): thread .* waits in __syncthreads, 32 of 64 have exited");
  const auto early = [&](int count) {
    (void)launch("return_before_barrier", 1, 64, nullptr, x.data(), count);
    (void)cudaDeviceSynchronize();
  };
  EXPECT_DEATH(early(63), "incomplete barrier: .*, 1 of 64 have exited, the first of them \\(63, 0, 0\\)");
  early(64);
}

TEST(StandinKernelsDeathTest, LanesThatNeverCome) {
  const DeviceArray<float> x(64);
  EXPECT_DEATH(run_fault("full_mask_in_a_branch", 32, x.data()),
               "(lanes that never come: .* waits in __shfl_down_sync\\(0xffffffff\\)|lanes 0x.* have exited)");
  EXPECT_DEATH(run_fault("full_mask_in_a_branch", 16, x.data()), "the warp has only 16 lanes");
  EXPECT_DEATH(run_fault("lane_outside_of_mask", 32, x.data()), "reads lane 20, which is not in the mask");
}

TEST(StandinKernels, AMissingBarrierIsSeen) {
  int wrong = 0;
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    set_seed(seed);
    std::vector<float> numbers(64, 1.0F);
    const DeviceArray<float> x(numbers);
    ASSERT_CUDA(launch("turn_round_at_once", 1, 64, nullptr, x.data()));
    const std::vector<float> got = x.read();
    wrong += std::isnan(std::accumulate(got.begin(), got.end(), 0.0F)) ? 1 : 0;
  }
  EXPECT_EQ(wrong, static_cast<int>(kSeeds));  // some pair is always in the wrong order: it finds the poison
}

TEST(StandinKernels, EachBlockFindsPoison) {
  const DeviceArray<float> x(96);
  ASSERT_CUDA(launch("count_from_nothing", 3, 32, nullptr, x.data()));
  for (const float value : x.read()) EXPECT_TRUE(std::isnan(value));
}

TEST(StandinKernelsDeathTest, WritesOutsideOfMemory) {
  const auto behind = [](int threads) {
    (void)launch_with("write_behind_dynamic", 1, static_cast<unsigned>(threads), 64, nullptr, 16);
    (void)cudaDeviceSynchronize();
  };
  EXPECT_DEATH(behind(1), "wrote behind its 64 bytes of dynamic shared memory");
  const DeviceArray<float> x(100);
  const auto touch = [&](float* where, long at) {
    (void)launch("touch", 1, 1, nullptr, where, at);
    (void)cudaDeviceSynchronize();
  };
  touch(x.data(), 99);
  EXPECT_DEATH(touch(x.data(), 100), "wrote behind the end of an allocation of 400 bytes");
  EXPECT_DEATH(
      touch(x.data(), 1000),
      "kernel packhorse::test_kernels::touch.*, thread \\(0, 0, 0\\) touches memory that is not its own: .*behind");
  std::vector<float> host(10);
  EXPECT_DEATH(touch(host.data(), 0), "parameter 1 points to memory that a device cannot reach");
}

TEST(StandinKernelsDeathTest, AKernelThatNobodyRegistered) {
  EXPECT_DEATH(run_fault("not_registered", 1, static_cast<float*>(nullptr)),
               "kernel packhorse::test_kernels::not_registered\\(float\\*\\) runs on no host: .*REGISTER_KERNEL");
}

}  // namespace
}  // namespace packhorse::standin

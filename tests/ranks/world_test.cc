// The tests named Ranked run in several processes under mpirun, each with a World; the tests above them start them.
#include "ranks/world.h"

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "support/subprocess.h"

namespace packhorse {
namespace {

TEST(World, ASingleProcessNeedsNoMpi) {
  World world;
  EXPECT_EQ(world.rank(), 0);
  EXPECT_EQ(world.size(), 1);
  EXPECT_EQ(world.local_size(), 1);
  world.barrier();
  EXPECT_EQ(world.broadcast("text"), "text");
  EXPECT_EQ(world.gather("mine"), std::vector<std::string>{"mine"});
  std::array<uint64_t, 2> values{1, 2};
  world.sum(values);
  EXPECT_EQ(values, (std::array<uint64_t, 2>{1, 2}));
  std::array<float, 1> one{5};
  EXPECT_TRUE(world.start_sum(one).poll());
  EXPECT_EQ(one[0], 5);
  std::array<uint8_t, 2> flags{0, 1};
  EXPECT_TRUE(world.start_any(flags).poll());
  EXPECT_EQ(flags, (std::array<uint8_t, 2>{0, 1}));
}

TEST(World, CommunicatesBetweenRanks) {
  for (const int ranks : {1, 2, 4}) {
    const auto result = test::run_ranked_test("DISABLED_Ranked.Communicate", ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

TEST(World, FlagsTravelBesideSums) {
  for (const int ranks : {1, 2, 4}) {
    const auto result = test::run_ranked_test("DISABLED_Ranked.FlagsBesideSums", ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

TEST(World, EndsTheJobWhenOneRankFails) {
  const Stopwatch clock;
  const auto result = test::run_ranked_test("DISABLED_Ranked.OneFails", 3);
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.all().find("[rank 2] error: only this rank"), std::string::npos) << result.all();
  EXPECT_LT(clock.seconds(), 30) << "the design promises an end within 30 s";
}

TEST(World, PrintsASharedFailureOnce) {
  const auto result = test::run_ranked_test("DISABLED_Ranked.AllFail", 3);
  EXPECT_NE(result.exit_code, 0);
  const std::string text = result.all();
  const size_t first = text.find("error: every rank");
  ASSERT_NE(first, std::string::npos) << text;
  EXPECT_EQ(text.find("error: every rank", first + 1), std::string::npos) << text;
}

TEST(DISABLED_Ranked, Communicate) {
  World world;
  const int rank = world.rank(), size = world.size();
  EXPECT_EQ(world.local_size(), size);
  EXPECT_EQ(world.broadcast(rank == 0 ? std::string("from\0rank 0", 11) : "other"), std::string("from\0rank 0", 11));
  const auto all = world.gather("r" + std::to_string(rank));
  ASSERT_EQ(all.size(), rank == 0 ? size_t(size) : size_t{0});
  for (int i = 0; rank == 0 && i < size; ++i) EXPECT_EQ(all[size_t(i)], "r" + std::to_string(i));
  std::array<uint64_t, 2> counts{uint64_t{1} << 40, uint64_t(rank)};
  world.sum(counts);
  EXPECT_EQ(counts[0], uint64_t(size) << 40);
  EXPECT_EQ(counts[1], uint64_t(size) * (size - 1) / 2);

  // Several sums in progress at the same time, each of small integers, which are exact.
  std::vector<std::vector<float>> parts;
  parts.reserve(5);
  std::vector<World::Request> requests;
  for (size_t part = 0; part < 5; ++part) parts.emplace_back(1000 + part, float(rank + 1) * float(part + 1));
  requests.reserve(parts.size());
  for (auto& part : parts) requests.push_back(world.start_sum(part));
  const int rank_sum = size * (size + 1) / 2;
  for (size_t part = 0; part < 5; ++part) {
    while (!requests[part].poll()) std::this_thread::sleep_for(std::chrono::microseconds(50));
    for (const float value : parts[part]) ASSERT_EQ(value, float(part + 1) * float(rank_sum));
  }
  world.barrier();
}

// Each rank starts its flags elsewhere between the sums. The last flag is set on no rank, the others on one rank each.
TEST(DISABLED_Ranked, FlagsBesideSums) {
  World world;
  const auto rank = static_cast<size_t>(world.rank()), size = static_cast<size_t>(world.size());
  constexpr size_t kSums = 4;
  std::vector<float> values(kSums, 1);
  std::vector<uint8_t> flags(size + 1);
  flags[rank] = 1;
  std::vector<World::Request> requests;
  for (size_t i = 0; i <= kSums; ++i) {
    if (i == rank) requests.push_back(world.start_any(flags));
    if (i < kSums) requests.push_back(world.start_sum(std::span(values).subspan(i, 1)));
  }
  for (auto& request : requests) {
    while (!request.poll()) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  EXPECT_EQ(values, std::vector<float>(kSums, static_cast<float>(size)));
  std::vector<uint8_t> expected(size + 1, 1);
  expected[size] = 0;
  EXPECT_EQ(flags, expected);
}

TEST(DISABLED_Ranked, OneFails) {
  const int code = run_ranked_stage([](World& world) -> int {
    if (world.rank() == 2) throw Error({"only this rank", "", ""});
    world.barrier();  // would block forever if the job did not end
    return 0;
  });
  FAIL() << "the job continued with code " << code;
}

TEST(DISABLED_Ranked, AllFail) {
  const int code = run_ranked_stage([](World&) -> int { throw Error({"every rank", "", ""}); });
  FAIL() << "the job continued with code " << code;
}

}  // namespace
}  // namespace packhorse

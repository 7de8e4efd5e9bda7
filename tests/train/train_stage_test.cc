// The test before each test named Ranked starts it in mpirun.
#include "train/train_stage.h"

#include <gtest/gtest.h>

#include "support/subprocess.h"

namespace packhorse {
namespace {

TEST(AgreedPrecision, IsTheOnlyRanksOwn) {
  World world;
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) EXPECT_EQ(agreed_precision(world, dtype), dtype);
}

TEST(AgreedPrecision, RanksAgree) {
  for (const int ranks : {2, 3}) {
    const auto result = test::run_ranked_test("DISABLED_RankedPrecision.*", ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

// Machines differ: one of them has no instructions for bf16.
TEST(DISABLED_RankedPrecision, IsTheLeastOfAll) {
  World world;
  EXPECT_EQ(agreed_precision(world, Dtype::bf16), Dtype::bf16);
  EXPECT_EQ(agreed_precision(world, world.rank() == world.size() - 1 ? Dtype::f32 : Dtype::bf16), Dtype::f32);
  EXPECT_EQ(agreed_precision(world, Dtype::f32), Dtype::f32);
}

}  // namespace
}  // namespace packhorse

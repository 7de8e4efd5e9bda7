#include "step/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace packhorse {
namespace {

TEST(LearningRateSchedule, WarmsUpLinearly) {
  LearningRateSchedule rate;
  rate.base = 0.4;
  rate.warmup_steps = 4;
  rate.total_steps = 104;
  EXPECT_DOUBLE_EQ(rate.at(0), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(1), 0.2);
  EXPECT_DOUBLE_EQ(rate.at(3), 0.4);
  EXPECT_DOUBLE_EQ(rate.at(4), 0.4);
}

TEST(LearningRateSchedule, CosineFallsToZero) {
  LearningRateSchedule rate;
  rate.base = 2;
  rate.total_steps = 100;
  EXPECT_DOUBLE_EQ(rate.at(0), 2);
  EXPECT_NEAR(rate.at(50), 1, 1e-12);
  EXPECT_NEAR(rate.at(25), 1 + std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(rate.at(100), 0, 1e-12);
  EXPECT_NEAR(rate.at(1000), 0, 1e-12);
  for (int step = 1; step < 100; ++step) EXPECT_LT(rate.at(step), rate.at(step - 1));
}

TEST(LearningRateSchedule, StepsAtMilestones) {
  LearningRateSchedule rate;
  rate.kind = LearningRateSchedule::Kind::multi_step;
  rate.base = 1;
  rate.factor = 0.5;
  rate.milestones = {10, 20};
  rate.total_steps = 30;
  EXPECT_DOUBLE_EQ(rate.at(9), 1);
  EXPECT_DOUBLE_EQ(rate.at(10), 0.5);
  EXPECT_DOUBLE_EQ(rate.at(19), 0.5);
  EXPECT_DOUBLE_EQ(rate.at(20), 0.25);
}

TEST(LearningRateSchedule, StandsStillWithoutRoom) {
  LearningRateSchedule rate;
  rate.base = 1;
  rate.warmup_steps = 5;
  rate.total_steps = 5;
  EXPECT_TRUE(std::isfinite(rate.at(5)));
}

}  // namespace
}  // namespace packhorse

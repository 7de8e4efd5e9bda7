#include "step/learning_rate.h"

#include <cmath>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

TEST(LearningRateSchedule, WarmsUpLinearly) {
  LearningRateSchedule schedule;
  schedule.base = 0.4;
  schedule.warmup_steps = 4;
  schedule.total_steps = 104;
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(1), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.4);
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.4);
}

TEST(LearningRateSchedule, CosineFallsToZero) {
  LearningRateSchedule schedule;
  schedule.base = 2;
  schedule.total_steps = 100;
  EXPECT_DOUBLE_EQ(schedule.at(0), 2);
  EXPECT_NEAR(schedule.at(50), 1, 1e-12);
  EXPECT_NEAR(schedule.at(25), 1 + std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(schedule.at(100), 0, 1e-12);
  EXPECT_NEAR(schedule.at(1000), 0, 1e-12);
  for (int step = 1; step < 100; ++step) EXPECT_LT(schedule.at(step), schedule.at(step - 1));
}

TEST(LearningRateSchedule, MultiStepFallsAtMilestones) {
  LearningRateSchedule schedule;
  schedule.kind = LearningRateSchedule::Kind::multi_step;
  schedule.base = 1;
  schedule.factor = 0.5;
  schedule.milestones = {10, 20};
  schedule.total_steps = 30;
  EXPECT_DOUBLE_EQ(schedule.at(9), 1);
  EXPECT_DOUBLE_EQ(schedule.at(10), 0.5);
  EXPECT_DOUBLE_EQ(schedule.at(19), 0.5);
  EXPECT_DOUBLE_EQ(schedule.at(20), 0.25);
}

TEST(LearningRateSchedule, IsFiniteIfWarmUpIsTheWholeTraining) {
  LearningRateSchedule schedule;
  schedule.base = 1;
  schedule.warmup_steps = 5;
  schedule.total_steps = 5;
  EXPECT_TRUE(std::isfinite(schedule.at(5)));
}

}  // namespace
}  // namespace packhorse

#include "train/training_settings.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/backends.h"

namespace packhorse {
namespace {

TEST(TrainingSettings, ShortEdgeFollowsFromTheImageSize) {
  TrainingSettings settings;
  settings.image_size = 224;
  EXPECT_EQ(settings.input().short_edge(), 256);
  settings.image_size = 28;
  EXPECT_EQ(settings.input().short_edge(), 28);
  settings.resize = 32;
  EXPECT_EQ(settings.input().short_edge(), 32);
  settings.resize = 20;
  EXPECT_THROW(settings.check(), UsageError);
}

TEST(TrainingSettings, EpochsBecomeSteps) {
  TrainingSettings settings;
  settings.epochs = 10;
  settings.warmup_epochs = 0.5;
  settings.schedule = "multistep";
  settings.milestones = {"5", "7.5"};
  const LearningRateSchedule learning_rate = settings.learning_rate(100);
  EXPECT_EQ(learning_rate.warmup_steps, 50);
  EXPECT_EQ(learning_rate.total_steps, 1000);
  EXPECT_EQ(learning_rate.milestones, (std::vector<int64_t>{500, 750}));
  EXPECT_EQ(settings.last_step(100), 1000);
  settings.limit_steps = 30;
  EXPECT_EQ(settings.last_step(100), 30);
  EXPECT_EQ(settings.learning_rate(100).total_steps, 1000);  // limit-steps ends the run early, the schedule stays
}

TEST(TrainingSettings, WarmUpFollowsFromTheEpochsUnlessSet) {
  TrainingSettings settings;
  settings.epochs = 3;
  settings.check();
  EXPECT_EQ(settings.learning_rate(100).warmup_steps, 30);
  settings.epochs = 90;
  EXPECT_EQ(settings.learning_rate(100).warmup_steps, 500);
  settings.warmup_epochs = 0;
  EXPECT_EQ(settings.learning_rate(100).warmup_steps, 0);
}

TEST(TrainingSettings, ChannelsAreOneOrThree) {
  float channels[3];
  parse_channels({"117"}, "mean", channels);
  EXPECT_EQ(channels[2], 117);
  parse_channels({"1", "2.5", "-3"}, "mean", channels);
  EXPECT_EQ(channels[1], 2.5);
  EXPECT_THROW(parse_channels({"1", "2"}, "mean", channels), UsageError);
  EXPECT_THROW(parse_channels({"one"}, "mean", channels), UsageError);
  EXPECT_THROW(parse_channels({}, "mean", channels), UsageError);
  EXPECT_THROW(parse_channels({"nan"}, "mean", channels), UsageError);
}

TEST(TrainingSettings, AutoIsWhatTheBackendPrefers) {
  TrainingSettings settings;
  EXPECT_EQ(settings.preferred_precision(), Dtype::f32);
  settings.precision = std::nullopt;
  for (const std::string& backend : backend_names()) {
    settings.backend = backend;
    EXPECT_EQ(settings.preferred_precision(), backend_types(backend).front()) << backend;
    EXPECT_EQ(settings.executor({.records = 8, .global_batch = 4}, 1).dtype, backend_types(backend).front());
  }
  settings.precision = Dtype::bf16;
  EXPECT_EQ(settings.preferred_precision(), Dtype::bf16);
}

TEST(TrainingSettings, InvalidSettingsAreRefused) {
  const auto refused = [](auto change) {
    TrainingSettings settings;
    settings.check();
    change(settings);
    EXPECT_THROW(settings.check(), UsageError);
  };
  refused([](auto& s) { s.schedule = "multistep"; });
  refused([](auto& s) { s.warmup_epochs = 60; });
  refused([](auto& s) { s.backend = "abacus"; });
  refused([](auto& s) { s.mean = {"1", "2"}; });
  refused([](auto& s) { s.milestones = {"x"}; });
}

TEST(TrainingSettings, OnlySettingsThatChangeTheResultDiffer) {
  const Json before = {{"lr", 0.1}, {"backend", "a"}, {"recompute", false}, {"limit-steps", 0}};
  Json now = before;
  EXPECT_TRUE(differing_settings(before, now).empty());
  now["backend"] = "b";
  now["recompute"] = true;
  now["limit-steps"] = 5;
  EXPECT_TRUE(differing_settings(before, now).empty());
  now["lr"] = 0.2;
  now["seed"] = 1;
  EXPECT_EQ(differing_settings(before, now), (std::vector<std::string>{"lr", "seed"}));
}

}  // namespace
}  // namespace packhorse

// The test before each test named Ranked starts it in mpirun.
#include "step/trainer.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "comm/agreement.h"
#include "comm/sums.h"
#include "feed/feed.h"
#include "ops/nodes.h"
#include "support/shards.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;
using test::write_shards;

constexpr int kSize = 28;
constexpr int64_t kClasses = 4;

ExecutorOptions executor_options(int64_t batch, int ranks = 1) {
  ExecutorOptions options;
  options.batch = batch;
  options.ranks = ranks;
  for (float& scale : options.scale) scale = 1 / 64.0f;
  return options;
}

TrainerOptions trainer_options(uint64_t global_batch, double learning_rate) {
  TrainerOptions options;
  options.schedule.kind = LearningRateSchedule::Kind::multi_step;  // without milestones: constant
  options.schedule.base = learning_rate;
  options.global_batch = global_batch;
  return options;
}

FeedOptions feed_options(uint64_t records, uint64_t batch, int ranks, int rank) {
  FeedOptions options;
  options.plan = {records, batch, ranks, rank};
  options.augment.size = options.augment.resize = kSize;
  options.augment.crop = &kRandomCrop;
  options.augment.flip = 0;
  options.classes = kClasses;
  options.end_epoch = 1000;
  return options;
}

std::vector<float> copy_of(Executor& executor, const char* state) {
  const HostView view = executor.state(state);
  return {view.begin(), view.end()};
}

// With loss scaling.
ExecutorOptions scaled_options(float loss_scale, int interval) {
  ExecutorOptions options = executor_options(16);
  options.loss_scale = loss_scale;
  options.loss_scale_interval = interval;
  return options;
}
TrainerOptions scaled_trainer() {
  TrainerOptions options = trainer_options(16, 0.05);
  options.loss_scaling = true;
  return options;
}

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest()
      : shards_(write_shards(folder_.path(), "train", {.records = 64, .width = kSize, .height = kSize})),
        graph_(make_network("inception-bn-small", kSize, kClasses)) {}
  TempDir folder_;
  ShardReader shards_;
  Graph graph_;
  World world_;
  CommThread comm_{world_};
  Agreement agreement_{comm_};
};

TEST_F(TrainerTest, LearnsAnEasyTask) {
  Executor executor(graph_, executor_options(16));
  initialise(executor, 1);
  Trainer trainer(executor, agreement_, trainer_options(16, 0.05));
  Feed feed(shards_, feed_options(64, 16, 1, 0));
  const std::vector<float> statistics = copy_of(executor, "statistics");
  TrainedStep report;
  double first = 0;
  for (int step = 1; step <= 24; ++step) {
    report = trainer.step(*feed.next(), {});
    if (step == 1) first = report.loss;
    ASSERT_EQ(report.step, step);
    ASSERT_EQ(report.counted, 16u);
    ASSERT_LE(report.top1, 16u);
    ASSERT_GT(report.gradient_norm, 0);
    ASSERT_EQ(report.learning_rate, 0.05);
  }
  // The four classes differ in colour: the loss falls from the logarithm of 4 to half of it in a few steps.
  EXPECT_LT(report.loss, 0.5 * std::log(4.0)) << "from " << first;
  EXPECT_NE(copy_of(executor, "statistics"), statistics);
  EXPECT_EQ(trainer.steps(), 24);
}

TEST_F(TrainerTest, StepAppliesTheOptimizerToTheMeanGradient) {
  constexpr float kRate = 0.05f, kDecay = 0.01f;
  Feed feed(shards_, feed_options(64, 16, 1, 0));
  const Batch* batch = feed.next();

  Executor plain(graph_, executor_options(16));
  initialise(plain, 1);
  const std::vector<float> before = copy_of(plain, "weights");
  plain.step({.pixels = batch->pixels, .labels = batch->labels, .gradient_scale = 1.0f / 16});

  ExecutorOptions decayed = executor_options(16);
  decayed.weight_decay = kDecay;
  Executor executor(graph_, decayed);
  initialise(executor, 1);
  Trainer trainer(executor, agreement_, trainer_options(16, kRate));
  trainer.step(*batch, {});
  const std::vector<float> gradients = copy_of(plain, "gradients"), after = copy_of(executor, "weights");
  for (const Parameter& parameter : graph_.parameters) {
    for (size_t i = parameter.offset; i < parameter.offset + parameter.count; ++i) {
      const float update = gradients[i] + (parameter.decay ? kDecay * before[i] : 0.0f);
      // One rounding in each of three operations on values of this magnitude.
      const double scale = std::abs(before[i]) + kRate * std::abs(update);
      ASSERT_NEAR(after[i], before[i] - kRate * update, 4 * scale * std::numeric_limits<float>::epsilon() + 1e-30)
          << parameter.name;
    }
  }
}

TEST_F(TrainerTest, StopsIfTheLossIsNotFinite) {
  Executor executor(graph_, executor_options(16));
  initialise(executor, 1);
  Trainer trainer(executor, agreement_, trainer_options(16, 0.05));
  Feed feed(shards_, feed_options(64, 16, 1, 0));
  trainer.step(*feed.next(), {});
  std::vector<float> weights = copy_of(executor, "weights");
  weights.back() = std::numeric_limits<float>::quiet_NaN();
  executor.write("weights", weights);
  try {
    trainer.step(*feed.next(), {});
    FAIL() << "the step accepted a loss of NaN";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step 2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("--lr"), std::string::npos) << error.what();
  }
  EXPECT_EQ(trainer.steps(), 1);
  EXPECT_EQ(trainer.updates(), 1);
}

// A skipped update is a step all the same: the sample order and the learning rate go on, the weights do not.
TEST_F(TrainerTest, LossScalingSkipsUpdatesUntilTheGradientIsFinite) {
  Executor executor(graph_, scaled_options(kGreatestLossScale, 4));
  initialise(executor, 1);
  Trainer trainer(executor, agreement_, scaled_trainer());
  Feed feed(shards_, feed_options(64, 16, 1, 0));
  // So large that the loss still is a number, but no longer the gradient.
  std::vector<float> weights = copy_of(executor, "weights");
  const Parameter& last = graph_.parameters[graph_.parameters.size() - 2];
  for (size_t i = 0; i < last.count; ++i) weights[last.offset + i] = (i % 2 == 0 ? 1 : -1) * 0x1p110f;
  executor.write("weights", weights);
  const std::vector<float> statistics = copy_of(executor, "statistics");
  const TrainedStep skipped = trainer.step(*feed.next(), {});
  EXPECT_FALSE(skipped.applied);
  EXPECT_TRUE(std::isfinite(skipped.loss));
  EXPECT_EQ(skipped.loss_scale, kGreatestLossScale / 2);
  EXPECT_EQ(copy_of(executor, "weights"), weights);
  EXPECT_EQ(copy_of(executor, "statistics"), statistics);
  EXPECT_EQ(trainer.steps(), 1);
  EXPECT_EQ(trainer.updates(), 0);
  initialise(executor, 1);
  for (int step = 2; step <= 5; ++step) EXPECT_TRUE(trainer.step(*feed.next(), {}).applied);
  EXPECT_EQ(copy_of(executor, "loss_scale"), (std::vector<float>{kGreatestLossScale, 0}))
      << "doubled after four updates";
  EXPECT_EQ(trainer.steps(), 5);
  EXPECT_EQ(trainer.updates(), 4);
}

TEST_F(TrainerTest, LossScalingEndsARunThatOnlySkips) {
  Executor executor(graph_, scaled_options(2, 0));
  initialise(executor, 1);
  Trainer trainer(executor, agreement_, scaled_trainer());
  Feed feed(shards_, feed_options(64, 16, 1, 0));
  std::vector<float> weights = copy_of(executor, "weights");
  weights.back() = std::numeric_limits<float>::quiet_NaN();
  executor.write("weights", weights);
  const Batch* batch = feed.next();
  for (int step = 1; step <= 32; ++step) EXPECT_FALSE(trainer.step(*batch, {}).applied);
  EXPECT_THROW(trainer.step(*batch, {}), Error);
  EXPECT_EQ(trainer.updates(), 0);
}

// The step before is collected after the next one was enqueued: the same bits as one after the other.
TEST_F(TrainerTest, AStepMayBeEnqueuedBeforeTheReportOfTheOneBefore) {
  std::vector<std::vector<float>> weights;
  for (const bool beside : {false, true}) {
    ExecutorOptions options = executor_options(16);
    options.beside = beside;
    Executor executor(graph_, options);
    EXPECT_EQ(executor.works_beside(), beside);
    initialise(executor, 1);
    Trainer trainer(executor, agreement_, trainer_options(16, 0.05));
    Feed feed(shards_, feed_options(64, 16, 1, 0), executor.device());
    for (int step = 1; step <= 8; ++step) {
      const Batch* batch = feed.next();
      trainer.enqueue(*batch, {.stop = step == 5});
      feed.keep_until(executor.input_taken());
      EXPECT_EQ(trainer.in_flight(), step == 1 ? 1 : 2);
      if (step > 1) {
        EXPECT_THROW(trainer.enqueue(*batch, {}), Error) << "two in flight are the most";
        const TrainedStep before = trainer.collect();
        EXPECT_EQ(before.step, step - 1);
        EXPECT_EQ(before.requests.stop, step - 1 == 5);
      }
    }
    EXPECT_EQ(trainer.collect().step, 8);
    weights.push_back(copy_of(executor, "weights"));
  }
  EXPECT_EQ(weights[0], weights[1]);
}

TEST(Trainer, RanksAgree) {
  for (const int ranks : {2, 4}) {
    const auto result = test::run_ranked_test("DISABLED_Ranked.*", ranks);
    EXPECT_EQ(result.exit_code, 0) << ranks << " ranks:\n" << result.all();
  }
}

TEST(DISABLED_Ranked, SameBitsOnEveryRank) {
  World world;
  const TempDir folder;
  const ShardReader shards(write_shards(folder.path(), "train", {.records = 64, .width = kSize, .height = kSize}));
  const Graph graph = make_network("inception-bn-small", kSize, kClasses);
  CommThread comm(world);
  Agreement agreement(comm);
  Executor executor(graph, executor_options(16 / world.size(), world.size()),
                    [&](Device& device) { return make_sums(device, comm); });
  initialise(executor, 1);
  Trainer trainer(executor, agreement, trainer_options(16, 0.05));
  Feed feed(shards, feed_options(64, 16, world.size(), world.rank()));
  TrainedStep report;
  for (int step = 1; step <= 6; ++step) {
    // The request of one rank becomes the request of all.
    const StepRequests own{.stop = step == 4 && world.rank() == world.size() - 1,
                           .checkpoint = step == 3 && world.rank() == 0};
    report = trainer.step(*feed.next(), own);
    EXPECT_EQ(report.requests.stop, step == 4);
    EXPECT_EQ(report.requests.checkpoint, step == 3);
    EXPECT_EQ(report.counted, 16u);
  }
  uint32_t crc = 0;
  for (const char* name : {"weights", "statistics", "momentum"})
    crc = crc32c(std::as_bytes(executor.state(name).span()), crc);
  const auto all = world.gather(crc32c_text(crc) + " " + std::to_string(report.loss));
  for (const std::string& text : all) EXPECT_EQ(text, all.front());
}

}  // namespace
}  // namespace packhorse

// The demo's network is trained on the toy (tests/ops/toy_device.h) as a run trains: a step is enqueued before the
// report of the one before is there, and batches return to the feed when the device has taken them.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "feed/feed.h"
#include "ops/toy_backend.h"
#include "step/trainer.h"
#include "support/shards.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

constexpr int kSize = 28, kSteps = 8;
constexpr int kClasses = 4, kBatch = 4;

/// The reference with the toy's rewrites: one node after the other.
class InOrder : public WrappedBackend {
 public:
  InOrder() : WrappedBackend(make_backend("reference", {})) {}
  std::vector<Rewrite> algebraic() const override { return {move_average_pools, merge_siblings}; }
};

const bool kListed = [] {
  add_backend({"toy", toy::types, toy::make_backend});
  add_backend({"in order", toy::types,
               [](const BackendOptions&) -> std::unique_ptr<Backend> { return std::make_unique<InOrder>(); }});
  return true;
}();

struct Trained {
  std::vector<double> losses;
  std::vector<std::vector<float>> states;
  bool operator==(const Trained&) const = default;
};

class ToyTraining : public testing::Test {
 protected:
  ToyTraining()
      : shards_(test::write_shards(folder_.path(), "train", {.records = kBatch, .width = kSize, .height = kSize})),
        graph_(make_network("inception-bn-small", kSize, kClasses)) {}

  Trained train(const std::string& backend, bool recompute, bool ahead) {
    Executor executor(graph_, options(backend, recompute));
    initialise(executor, 1);
    Trainer trainer(executor, agreement_, trainer_options());
    Feed feed(shards_, feed_options(), executor.device());
    Trained trained;
    const auto collect = [&] { trained.losses.push_back(trainer.collect().loss); };
    for (int step = 0; step < kSteps; ++step) {
      trainer.enqueue(*feed.next(), {});
      feed.keep_until(executor.input_taken());
      if (!ahead || step > 0) collect();
    }
    if (ahead) collect();
    for (const char* name : {"weights", "statistics", "momentum"}) {
      const HostView state = executor.state(name);
      trained.states.emplace_back(state.begin(), state.end());
    }
    return trained;
  }

 private:
  static ExecutorOptions options(const std::string& backend, bool recompute) {
    ExecutorOptions options{.backend = backend, .batch = kBatch, .recompute = recompute};
    for (float& scale : options.scale) scale = 1 / 64.0f;
    return options;
  }
  static TrainerOptions trainer_options() {
    TrainerOptions options;
    options.schedule.kind = LearningRateSchedule::Kind::multi_step;  // without milestones: constant
    options.schedule.base = 0.05;
    options.global_batch = kBatch;
    return options;
  }
  static FeedOptions feed_options() {
    FeedOptions options;
    options.plan = {kBatch, kBatch, 1, 0};
    options.augment.size = options.augment.resize = kSize;
    options.augment.crop = &kRandomCrop;
    options.augment.flip = 0;
    options.classes = kClasses;
    options.end_epoch = 1000;
    return options;
  }

  test::TempDir folder_;
  ShardReader shards_;
  Graph graph_;
  World world_;
  CommThread comm_{world_};
  Agreement agreement_{comm_};
};

TEST_F(ToyTraining, LearnsWithTheBitsOfOneNodeAfterTheOther) {
  ASSERT_TRUE(kListed);
  const Trained right = train("in order", false, false);
  // Four images, one of each class, again and again: the loss falls far below the logarithm of 4.
  EXPECT_LT(right.losses.back(), 0.1 * std::log(4.0)) << "from " << right.losses.front();
  for (uint64_t order = 0; order < 2; ++order) {
    toy::toy_device().seed(order);
    EXPECT_TRUE(train("toy", order == 1, true) == right) << "order " << order;
  }
}

}  // namespace
}  // namespace packhorse

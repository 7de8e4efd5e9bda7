// Whole networks, backend against backend: logits, loss, gradients, statistics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/philox.h"
#include "ops/executor.h"

namespace packhorse {
namespace {

struct Batch {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
};

Batch made_up_batch(const Graph& graph, int64_t count, uint64_t seed) {
  RandomStream random(seed, RandomUse::test, 0, 0);
  Batch batch;
  for (int64_t i = 0; i < count * graph.image_size * graph.image_size * 3; ++i)
    batch.pixels.push_back(static_cast<uint8_t>(random.below(256)));
  for (int64_t i = 0; i < count; ++i)
    batch.labels.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(graph.classes))));
  return batch;
}

std::unique_ptr<Executor> made(const Graph& graph, ExecutorOptions options, uint64_t seed = 3) {
  for (float& scale : options.scale) scale = 1.0f / 64;
  auto executor = std::make_unique<Executor>(graph, options);
  initialise(graph, seed, executor->parameters().data(), executor->statistics().data());
  // Scales and shifts that differ from channel to channel.
  RandomStream random(seed, RandomUse::test, 1, 0);
  for (const Parameter& parameter : graph.parameters)
    if (parameter.shape.size() == 1)
      for (size_t i = 0; i < parameter.count; ++i)
        executor->parameters()[parameter.offset + i] += random.uniform(-0.3f, 0.3f);
  executor->parameters_changed();
  return executor;
}

double relative_difference(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / std::max(size, 1e-30));
}

TEST(Network, OnednnAgreesWithTheReference) {
  const Graph graph = make_network("inception-bn-small", 28, 10);
  const Batch batch = made_up_batch(graph, 3, 5);
  auto truth = made(graph, {.backend = "reference", .batch = 3});
  auto fast = made(graph, {.backend = "onednn", .batch = 3, .threads = 2});
  const BatchResult a = truth->step(batch.pixels, batch.labels, 0.5f, nullptr);
  const BatchResult b = fast->step(batch.pixels, batch.labels, 0.5f, nullptr);
  EXPECT_NEAR(a.loss_sum, b.loss_sum, 1e-4);
  EXPECT_EQ(a.top1, b.top1);
  for (const Parameter& p : graph.parameters)
    EXPECT_LT(relative_difference(fast->gradients().subspan(p.offset, p.count),
                                  truth->gradients().subspan(p.offset, p.count)),
              1e-3)
        << p.name;
}

}  // namespace
}  // namespace packhorse

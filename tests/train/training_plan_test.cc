// What `train --plan` says follows from the program that would run.
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "train/training_run.h"

namespace packhorse {
namespace {

TrainingJob small_job() {
  TrainingJob job;
  job.settings.network = "inception-bn-small";
  job.settings.image_size = 28;
  job.settings.global_batch = 32;
  job.settings.epochs = 2;
  job.classes = 10;
  job.threads = job.workers = 1;
  return job;
}

// The weights of all layers listed, merged or not, are the network's without batch norm and bias.
TEST(TrainingPlan, ListsEveryLayerWithItsWeights) {
  const TrainingJob job = small_job();
  std::istringstream lines(planned(job, 320, 64, 1).text("train", job.folder, {}));
  const Graph graph = make_network("inception-bn-small", 28, 10);
  size_t expected = 0, listed = 0, pools = 0;
  for (const Parameter& p : graph.parameters)
    if (p.shape.size() > 1) expected += p.count;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string node, output, weights;
    words >> node >> output >> weights;
    if (node.ends_with("_pool")) ++pools;
    if (node != "convolution" && node != "fully_connected") continue;
    std::erase(weights, ',');
    listed += std::stoul(weights);
  }
  EXPECT_EQ(listed, expected);
  EXPECT_EQ(pools, 4u);  // two average pools behind their convolutions, a max pool, the global one
}

TEST(TrainingPlan, RecomputingNeedsLessMemory) {
  TrainingJob job = small_job();
  const std::string kept = planned(job, 320, 64, 1).text("train", job.folder, {});
  job.settings.recompute = true;
  const std::string recomputed = planned(job, 320, 64, 1).text("train", job.folder, {});
  const auto activations = [](const std::string& text) {
    return std::stod(text.substr(text.find("activations ") + std::string("activations ").size()));
  };
  EXPECT_LT(activations(recomputed), 0.8 * activations(kept));  // both in MB
}

}  // namespace
}  // namespace packhorse

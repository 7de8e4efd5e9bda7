// The training step as a program: where the sums over ranks stand, and what follows them.
#include "ops/step.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/builder.h"
#include "ops/backends.h"
#include "ops/compile.h"
#include "ops/nodes.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

// A layer of each kind that has weights.
Graph plain_network() {
  GraphBuilder net("plain", 8, 3);
  net.classifier(net.conv_bn({.name = "stem", .src = net.input(), .out = 8, .kernel = 3, .pad = 1}));
  return net.finish();
}

// One line a node: kind and name.
std::vector<std::string> order_of(const Program& program) {
  std::vector<std::string> lines;
  lines.reserve(program.nodes.size());
  for (const Node& node : program.nodes) lines.push_back(std::string(node.kind->name) + " " + node.name);
  return lines;
}

std::vector<Operand> summed(const Program& program, const std::string& state) {
  std::vector<Operand> ranges;
  for (const Node& node : program.nodes)
    if (node.is(kSum) && program.value(node.at("src")).state == state) ranges.push_back(node.at("src"));
  return ranges;
}

// Nodes that write ranges of `count` gradients, the first of them last.
Program backward_of(int64_t count, const std::vector<int64_t>& begins) {
  Program program{.name = "backward"};
  const int gradients =
      program.add({.name = kGradients, .shape = {1, 1, 1, count}, .storage = Storage::state, .state = kGradients});
  int64_t end = count;
  for (const int64_t first : begins) {
    program.nodes.push_back({.kind = &kBiasGradient,
                             .name = "from " + std::to_string(first),
                             .writes = {{"bias_grad", gradients, first, end - first}},
                             .pass = Pass::backward});
    end = first;
  }
  return program;
}

TEST(GradientSums, AreCutFromTheEndAndCoverEachGradientOnce) {
  for (const int64_t count : {1, 9, 10, 11, 100, 101})
    for (const int64_t begin : {int64_t{0}, count / 2}) {
      Program program = backward_of(count, begin == 0 ? std::vector<int64_t>{0} : std::vector<int64_t>{begin, 0});
      add_gradient_sums(program, 10 * sizeof(float));
      const std::vector<Operand> sums = summed(program, kGradients);
      EXPECT_EQ(static_cast<int64_t>(sums.size()), (count + 9) / 10);
      int64_t end = count;
      for (const Operand& sum : sums) {
        EXPECT_EQ(sum.first + sum.count, end);
        EXPECT_TRUE(sum.count == 10 || sum.first == 0);
        end = sum.first;
      }
      EXPECT_EQ(end, 0);
      EXPECT_NO_THROW(verify(program));  // the new version has one writer for each element
    }
}

TEST(GradientSums, FollowTheLastNodeThatWritesIntoTheBucket) {
  Program program = backward_of(35, {30, 25, 6, 0});
  add_gradient_sums(program, 10 * sizeof(float));
  const std::vector<std::string> expected = {
      "bias_gradient from 30", "bias_gradient from 25",
      "sum gradients 1",  // [25, 35)
      "bias_gradient from 6",
      "sum gradients 2",  // [15, 25)
      "bias_gradient from 0",
      "sum gradients 3",  // [5, 15)
      "sum gradients 4",  // [0, 5)
  };
  EXPECT_EQ(order_of(program), expected);
  EXPECT_NO_THROW(verify(program));
}

TEST(GradientSums, TheLastOnesMayBeABucketOfTheirOwn) {
  for (const int64_t apart : {1, 25, 35}) {
    Program program = backward_of(35, {35 - apart, 0});
    if (apart == 35) program = backward_of(35, {0});
    add_gradient_sums(program, 10 * sizeof(float), apart);
    const std::vector<Operand> sums = summed(program, kGradients);
    EXPECT_EQ(static_cast<int64_t>(sums.size()), 1 + (35 - apart + 9) / 10);
    EXPECT_EQ(sums.front().count, apart);
    EXPECT_EQ(order_of(program)[1], "sum gradients 1");  // behind the node that writes them
    for (size_t s = 1; s < sums.size(); ++s) EXPECT_EQ(sums[s].first + sums[s].count, sums[s - 1].first);
    EXPECT_EQ(sums.back().first, 0);
    EXPECT_NO_THROW(verify(program));
  }
}

TEST(GradientSums, TheClassifierApartBeginsBeforeItsDataGradient) {
  StepOptions options;
  options.classifier_apart = true;
  const std::vector<std::string> order = order_of(training_step(plain_network(), options, {}));
  const auto sum = std::find(order.begin(), order.end(), "sum gradients 1");
  ASSERT_NE(sum, order.end());
  EXPECT_EQ(*(sum - 1), "bias_gradient fc");
  EXPECT_EQ(*(sum + 1), "fully_connected_data_gradient fc");
}

TEST(GradientSums, ABucketOfAByteHoldsOneGradient) {
  Program program = backward_of(3, {0});
  add_gradient_sums(program, 1);
  EXPECT_EQ(summed(program, kGradients).size(), 3u);
}

TEST(TrainingStep, ReadsFromTopToBottom) {
  const std::vector<std::string> expected = {
      // forward
      "input input",
      "convolution stem/conv",
      "statistics stem/bn",
      "finish stem/bn",
      "apply stem/bn",
      "global_pool pool",
      "fully_connected fc",
      "loss loss",
      "sum words",
      // backward
      "loss_gradient loss",
      "fully_connected_weight_gradient fc",
      "bias_gradient fc",
      "fully_connected_data_gradient fc",
      "global_pool_gradient pool",
      "apply_gradient stem/bn",
      "finish_gradient stem/bn",
      "statistics_gradient stem/bn",
      "sum batch_statistics",
      "convolution_weight_gradient stem/conv",
      "sum gradients 1",
      // update
      "finite loss",
      "sgd stem/conv/weight",
      "sgd stem/bn/scale",
      "sgd stem/bn/shift",
      "sgd fc/weight",
      "sgd fc/bias",
      "norm gradient",
      "running_statistics stem/bn/mean",
      "running_statistics stem/bn/variance",
      "report step",
  };
  EXPECT_EQ(order_of(training_step(plain_network(), {}, {})), expected);
}

TEST(Inference, ReadsFromTopToBottomAndWritesNoState) {
  const Program program = inference_program(plain_network(), {}, {});
  const std::vector<std::string> expected = {"input input",   "convolution stem/conv", "finish stem/bn",
                                             "apply stem/bn", "global_pool pool",      "fully_connected fc"};
  EXPECT_EQ(order_of(program), expected);
  for (const Node& node : program.nodes)
    for (const Operand& result : node.writes) EXPECT_NE(program.value(result).storage, Storage::state) << node.name;
}

class Step : public testing::TestWithParam<std::string> {
 protected:
  Graph graph() const { return make_network(GetParam(), GetParam() == "inception-bn-small" ? 28 : 64, 10); }
};

// What each sum needs is complete, and nothing stands between it and the last node that it waits for.
TEST_P(Step, SumsAreNeitherEarlyNorLate) {
  for (const bool recompute : {false, true}) {
    StepOptions options;
    options.recompute = recompute;
    options.bucket_bytes = size_t{64} << 10;
    const Program program = training_step(graph(), options, {});
    const auto touches = [](const Node& node, const Operand& operand) {
      const auto same = [&](const Operand& other) { return overlap(other, operand); };
      return std::any_of(node.reads.begin(), node.reads.end(), same) ||
             std::any_of(node.writes.begin(), node.writes.end(), same);
    };
    size_t sums = 0;
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      if (!program.nodes[n].is(kSum)) continue;
      ++sums;
      const Operand src = program.nodes[n].at("src");
      for (size_t later = n + 1; later < program.nodes.size(); ++later)
        EXPECT_FALSE(touches(program.nodes[later], src))
            << program.nodes[later].name << " touches what " << program.nodes[n].name << " sums already";
      size_t before = n;
      while (program.nodes[before].is(kSum)) --before;
      EXPECT_TRUE(touches(program.nodes[before], src)) << program.nodes[n].name << " could start earlier";
    }
    EXPECT_EQ(sums, summed(program, kGradients).size() + 2);
    EXPECT_EQ(summed(program, "batch_statistics").size(), 1u);
    EXPECT_EQ(summed(program, "words").size(), 1u);
  }
}

TEST_P(Step, TheUpdateReadsOnlySums) {
  StepOptions options;
  options.bucket_bytes = size_t{64} << 10;
  const Program program = training_step(graph(), options, {});
  std::vector<int> summed_values;
  for (const Node& node : program.nodes)
    if (node.is(kSum)) summed_values.push_back(node.at("dst").value);
  const auto is_sum = [&](const Operand& operand) {
    return std::find(summed_values.begin(), summed_values.end(), operand.value) != summed_values.end();
  };
  size_t readers = 0;
  for (const Node& node : program.nodes) {
    for (const char* role : {"gradient", "batch", "words"})
      if (const Operand* operand = node.find(role)) {
        EXPECT_TRUE(is_sum(*operand)) << node.kind->name << " " << node.name;
        ++readers;
      }
    // Nothing changes a kept state before it is known that the loss is a number.
    if (node.find("new_weight") != nullptr || node.find("new_running") != nullptr) {
      EXPECT_NE(node.find("finite"), nullptr) << node.name;
    }
  }
  // Each weight and each statistic; the norm, the test of the loss and the report.
  EXPECT_EQ(readers, graph().parameters.size() + graph().statistics.size() + 3);
}

// A boundary may fall anywhere, also between the gradients that a backend computes in one fused node.
TEST_P(Step, BucketsOfAnySizeCompile) {
  for (const BackendCase& c : backend_cases())
    for (const size_t bytes : {4 * graph().parameter_count / 97, kBucketBytes}) {
      const auto backend = make_backend(c.backend, {.dtype = c.dtype});
      StepOptions options;
      options.forward.dtype = c.dtype;
      options.bucket_bytes = bytes;
      Program refresh;
      EXPECT_NO_THROW(compile(training_step(graph(), options, backend->algebraic()), *backend, refresh))
          << c << " " << bytes;
    }
}

INSTANTIATE_TEST_SUITE_P(Networks, Step, testing::ValuesIn(network_names()), [](const auto& network) {
  std::string name = network.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace packhorse

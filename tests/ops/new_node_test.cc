// A kind of node that this file adds: dropout. What a newcomer writes is all here: what the kind is (NodeKind), its
// gradient, a kernel, and one line that adds the kernel to a backend.
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/philox.h"
#include "ops/networks.h"
#include "ops/reference/backend.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

// ---- The kind: src -> dst. A value is dropped with probability `rate`, the others grow by 1 / (1 - rate). Numbers
// rate, seed. Nothing is kept for the backward pass: the mask follows from seed, step and place.

extern const NodeKind kDropout;
extern const NodeKind kDropoutGradient;

void dropout_backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kDropoutGradient, node);
  gradient.reads = {program.gradient_of(node, "dst", "src")};
  program.contribute(gradient, "src_grad", node, "src");
  gradient.writes.front().role = "dst";
  gradient.in_place = {{"dst", "src"}};
  program.append(gradient);
}

const NodeKind kDropout = {.name = "dropout", .differentiable = {"src"}, .backward = dropout_backward};
const NodeKind kDropoutGradient = {.name = "dropout_gradient"};

// ---- The kernel: the gradient is the same as the function, because both multiply by the mask.

Run bind_dropout(reference::Context& /*context*/, const Site& site) {
  return [src = site.view("src"), dst = site.view("dst"), rate = static_cast<float>(site.node().number("rate")),
          seed = static_cast<uint64_t>(site.node().number("seed"))](const StepCall& call) {
    for (int64_t p = 0; p < dst.shape.pixels(); ++p) {
      RandomStream random(seed, RandomUse::test, static_cast<uint64_t>(call.step), static_cast<uint64_t>(p));
      for (int64_t c = 0; c < dst.shape.c; ++c)
        reference::at(dst, p)[c] = random.uniform(0, 1) < rate ? 0.0f : reference::at(src, p)[c] / (1 - rate);
    }
  };
}

std::unique_ptr<Backend> backend_with_dropout() {
  auto backend = make_backend("reference", {});
  auto& table = dynamic_cast<TableBackend<reference::Context>&>(*backend);
  for (const NodeKind* kind : {&kDropout, &kDropoutGradient}) table.add({kind, bind_dropout});  // the one line
  return backend;
}

// ---- A network with it: between the global pool and the classifier.

Program step_with_dropout() {
  const auto insert = [](Program& program) {
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      if (!program.nodes[n].is(kFullyConnected)) continue;
      const Operand features = program.nodes[n].at("src");
      Value kept = program.value(features);
      kept.name = "kept features";
      const Operand dst = program.whole(program.add(std::move(kept)), "dst");
      for (Operand& operand : program.nodes[n].reads)
        if (operand.role == "src") operand = as("src", dst);
      program.nodes.insert(program.nodes.begin() + static_cast<int64_t>(n), {.kind = &kDropout,
                                                                             .name = "dropout",
                                                                             .reads = {as("src", features)},
                                                                             .writes = {dst},
                                                                             .numbers = {{"rate", 0.5}, {"seed", 7}}});
      return;
    }
  };
  const std::vector<Rewrite> rewrites = {insert};
  return training_step(small_network(), step_of(4), rewrites);
}

/// The gradients of one step of a program on a backend that knows dropout.
class Gradients {
 public:
  explicit Gradients(const Program& program)
      : backend_(backend_with_dropout()),
        lanes_(backend_->device(), false, nullptr),
        states_(backend_->device()),
        inputs_(backend_->device(), lanes_, 1, kPixels, 4) {
    Program refresh;
    CompiledProgram compiled = compile(program, *backend_, refresh);
    states_.add(compiled.program);
    slab_ = DeviceMemory(backend_->device(), compiled.plan.bytes);
    std::vector<float> weights(graph_.parameter_count), statistics(graph_.statistic_count);
    initialise(graph_, 1, weights.data(), statistics.data());
    write_bytes(lanes_.of(Lane::main), states_.address(kWeights), std::as_bytes(std::span(weights)));
    step_ = std::make_unique<BoundProgram>(std::move(compiled), *backend_, states_, slab_.address(), lanes_, false);
  }
  std::vector<float> at(int64_t step) {
    std::vector<uint8_t> pixels(kPixels);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37 % 256);
    const std::vector<int32_t> labels = {0, 1, 2, 0};
    const StepCall call = inputs_.enter({.pixels = pixels, .labels = labels, .step = step}, kPixels / 4);
    step_->enqueue(call);
    return read_floats(lanes_.of(Lane::main), states_.address(kGradients), states_.bytes(kGradients));
  }
  /// Features whose weights have no gradient in any class: those that are zero in every image.
  int dead_features(const std::vector<float>& gradients) const {
    const Parameter& weight = graph_.parameters[graph_.parameters.size() - 2];  // (classes, features)
    const auto features = static_cast<size_t>(weight.shape[1]);
    int dead = 0;
    for (size_t f = 0; f < features; ++f) {
      bool any = false;
      for (size_t place = f; place < weight.count; place += features) any |= gradients[weight.offset + place] != 0;
      dead += !any;
    }
    return dead;
  }

 private:
  static constexpr size_t kPixels = 4 * 8 * 8 * 3;
  Graph graph_ = small_network();
  std::unique_ptr<Backend> backend_;
  LaneStreams lanes_;
  States states_;
  InputSlots inputs_;
  DeviceMemory slab_;
  std::unique_ptr<BoundProgram> step_;
};

TEST(NewNode, OneFileAndOneLineMakeItPartOfAStep) {
  Gradients with(step_with_dropout()), without(training_step(small_network(), step_of(4), {}));
  const std::vector<float> first = with.at(0);
  EXPECT_EQ(without.dead_features(without.at(0)), 0);
  EXPECT_GT(with.dead_features(first), 0);  // of 40 features, one in 16 is dropped in all four images
  EXPECT_NE(with.at(1), first);             // another step, another mask
  EXPECT_EQ(with.at(0), first);             // the mask is addressed, not consumed
}

TEST(NewNode, ABackendThatDoesNotHaveItSaysSo) {
  for (const std::string& name : backend_names()) {
    const auto backend = make_backend(name, {});
    Program refresh;
    try {
      compile(step_with_dropout(), *backend, refresh);
      FAIL() << name << " took a kind that it does not know";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'dropout'"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace packhorse

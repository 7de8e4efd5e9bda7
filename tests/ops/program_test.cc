// Programs: what is refused, what a backward pass appends, how a step reads when it is printed.
#include "ops/program.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "ops/backends.h"
#include "ops/backward.h"
#include "ops/cpu/rewrites.h"
#include "ops/fused_reference.h"
#include "ops/networks.h"
#include "ops/nodes.h"

namespace packhorse {
namespace {

// a -> add -> b -> add -> c, all of 8 channels.
Program chain() {
  Program program{.name = "chain"};
  const auto value = [&](const char* name, Storage storage) {
    return program.add({.name = name, .shape = {1, 2, 2, 8}, .storage = storage});
  };
  const int a = value("a", Storage::input), b = value("b", Storage::slab), c = value("c", Storage::slab);
  for (const auto& [from, to] : {std::pair(a, b), std::pair(b, c)})
    program.nodes.push_back({.kind = &kAdd,
                             .name = "add",
                             .reads = {program.whole(from, "a"), program.whole(a, "b")},
                             .writes = {program.whole(to, "dst")}});
  return program;
}

TEST(Program, EachChannelHasOneWriterThatComesBeforeItsReaders) {
  EXPECT_NO_THROW(verify(chain()));
  Program late = chain();
  std::swap(late.nodes[0], late.nodes[1]);
  EXPECT_THROW(verify(late), Error);
  Program doubled = chain();
  doubled.nodes[1].writes[0].value = doubled.nodes[0].writes[0].value;
  EXPECT_THROW(verify(doubled), Error);
  Program outside = chain();
  outside.nodes[0].writes[0].first = 1;
  EXPECT_THROW(verify(outside), Error);
}

TEST(Program, AReaderOfTheWholeNeedsAllItsWriters) {
  Program program = chain();
  program.nodes[0].writes[0] = part(program.nodes[0].writes[0], 0, 5);
  EXPECT_THROW(verify(program), Error);  // channels 5 to 7 have no writer
  Node rest = program.nodes[0];
  rest.writes[0] = {"dst", rest.writes[0].value, 5, 3};
  for (Operand& operand : rest.reads) operand = part(operand, 5, 3);
  program.nodes.insert(program.nodes.begin(), rest);
  EXPECT_NO_THROW(verify(program));
  program.nodes[0].writes[0].first = 4;
  EXPECT_THROW(verify(program), Error);  // channel 4 has two
}

TEST(Program, UnusedValuesGoAndTheOthersKeepTheirReaders) {
  Program program = chain();
  program.values.insert(program.values.begin(), Value{.name = "nobody's", .shape = {1, 1, 1, 4}});
  for (Node& node : program.nodes)
    for (auto* side : {&node.reads, &node.writes})
      for (Operand& operand : *side) ++operand.value;
  remove_unused_values(program);
  EXPECT_EQ(text_of(program), text_of(chain()));
}

const Node& only(const Program& program, const NodeKind& kind, std::string_view name) {
  const auto found = std::find_if(program.nodes.begin(), program.nodes.end(),
                                  [&](const Node& node) { return node.is(kind) && node.name == name; });
  if (found == program.nodes.end()) throw Error({"no such node", std::string(kind.name) + " " + std::string(name), ""});
  return *found;
}

TEST(Backward, LaterContributionsAddTheFormerSum) {
  // The stem's result has three readers: a convolution (two, if not merged), the average and the max pool.
  const Program program = training_step(small_network(), step_of(2), {});
  const Operand first = only(program, kMaxPoolGradient, "a/max").at("src_grad");
  EXPECT_EQ(only(program, kMaxPoolGradient, "a/max").find("src_grad_addend"), nullptr);  // backward meets it first
  const Node& second = only(program, kConvolutionDataGradient, "a/one/conv");
  EXPECT_TRUE(overlap(second.at("src_grad_addend"), first));
  EXPECT_EQ(second.in_place.front().operand, "src_grad_addend");
  const Node& third = only(program, kAveragePoolGradient, "a/pool");
  EXPECT_TRUE(overlap(third.at("src_grad_addend"), second.at("src_grad")));
  EXPECT_EQ(program.value(third.at("src_grad")).name, "d stem/bn");
  EXPECT_TRUE(overlap(only(program, kApplyGradient, "stem/bn").at("dst_grad"), third.at("src_grad")));
}

TEST(Backward, GradientsOfWeightsAreOneStateInTheirOrder) {
  const Graph graph = small_network();
  const Program program = training_step(graph, step_of(2), {});
  for (const Parameter& p : graph.parameters) {
    int writers = 0;
    for (const Node& node : program.nodes)
      for (const Operand& result : node.writes)
        writers += program.value(result).name == kGradients && result.first == static_cast<int64_t>(p.offset) &&
                   result.count == static_cast<int64_t>(p.count);
    EXPECT_EQ(writers, 1) << p.name;
  }
}

TEST(Backward, NothingFlowsToTheImage) {
  const Program program = training_step(small_network(), step_of(2), {});
  for (const Node& node : program.nodes) EXPECT_FALSE(node.is(kConvolutionDataGradient) && node.name == "stem/conv");
}

TEST(Backward, ALayerThatLeadsNowhereIsNamed) {
  GraphBuilder net("forked", 8, 3);
  const int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 8, .kernel = 3, .pad = 1});
  net.conv_bn({.name = "nowhere", .src = x, .out = 8});
  net.classifier(x);
  const Graph graph = net.finish();
  try {
    training_step(graph, step_of(2), {});
    FAIL() << "a gradient came from nowhere";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nowhere/bn"), std::string::npos) << error.what();
  }
}

// The printed programs, plain and as the CPU fuses them, are files: a change of a step is seen in a review. After a
// change that is meant, run the test with UPDATE_GOLDEN=1 and read the difference.
void expect_golden(const std::string& text, const std::string& name) {
  const std::string path = std::string(PACKHORSE_ROOT) + "/tests/ops/files/" + name;
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  EXPECT_EQ(text, read_text(path)) << "if it is meant: UPDATE_GOLDEN=1 build/tests/ops_test --gtest_filter='Golden.*'";
}

TEST(Golden, ATrainingStep) {
  Program program = training_step(small_network(), step_of(2), {});
  remove_unused_values(program);
  expect_golden(text_of(program), "training_step.txt");
}

TEST(Golden, ATrainingStepAsTheCpuFusesIt) {
  const auto backend = make_backend("cpu", {});
  Program program = training_step(small_network(), step_of(2, Dtype::f32, true), backend->algebraic());
  for (const Fusion fusion : cpu::kFusions) fusion(program, *backend);
  remove_unused_values(program);
  expect_golden(text_of(program), "training_step_cpu.txt");
}

TEST(Golden, ATrainingStepOfRawValues) {
  FusedReference backend(false);
  Program refresh, program = training_step(small_network(), step_of(2), backend.algebraic());
  backend.rewrite(program, refresh);
  remove_unused_values(program);
  expect_golden(text_of(program), "training_step_raw.txt");
}

TEST(Golden, Inference) {
  expect_golden(text_of(inference_program(small_network(), step_of(2).forward, {})), "inference.txt");
}

}  // namespace
}  // namespace packhorse

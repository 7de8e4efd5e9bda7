// What a fused node computes is its body. The reference runs the bodies: a program with a fused node gives the bits of
// the plain one, for each fusion of each backend. (That a backend's own kernel agrees with the reference is in the
// tests of the nodes.)
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "ops/cpu/rewrites.h"
#include "ops/rewrites.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

/// Builds a program, fills what it reads, and says what to compare.
using Build = std::function<std::vector<Operand>(Trial& t)>;

struct FusionCase {
  std::string name;
  Fusion fuse;
  const NodeKind* kind;
  size_t nodes, body;  ///< of the fused program, and of its fused node
  Build build;
};

Operand random(Trial& t, Numbers& numbers, const Operand& operand, float low = -1, float high = 1) {
  t.set(operand, numbers.vector(t.count(operand), low, high));
  return operand;
}

std::vector<Operand> batch_norm_gradient(Trial& t) {
  const Shape shape{2, 4, 4, 9};
  Numbers numbers(11);
  const auto channels = [&](const char* name, float low = -1, float high = 1) {
    return random(t, numbers, t.array(name, shape.c), low, high);
  };
  const auto inner = [&](const char* name, Dtype dtype) { return t.inner(name, {1, 1, 1, shape.c}, dtype); };
  const Operand src = random(t, numbers, t.value("src", shape)), mean = channels("mean");
  const Operand scaled = t.inner("scaled", shape, Dtype::f32), a_grad = inner("a_grad", Dtype::f64),
                b_grad = inner("b_grad", Dtype::f64), k = inner("k", Dtype::f32), l = inner("l", Dtype::f32);
  const Operand scale_grad = t.array("scale_grad", shape.c), shift_grad = t.array("shift_grad", shape.c),
                src_grad = t.value("src_grad", shape);
  t.add({.kind = &kApplyGradient,
         .name = "test",
         .reads = {random(t, numbers, t.value("dst_grad", shape)), src, channels("a"), channels("b"),
                   as("src_grad_addend", random(t, numbers, t.value("before", shape)))},
         .writes = {as("src_grad", scaled), a_grad, b_grad},
         .numbers = {{"relu", 1.0}},
         .pass = Pass::backward});
  t.add({.kind = &kFinishGradient,
         .name = "test",
         .reads = {a_grad, b_grad, mean, channels("variance", 0.5, 2), channels("scale")},
         .writes = {scale_grad, shift_grad, k, l},
         .numbers = {{"epsilon", kBatchNormEpsilon}, {"count", 32}},
         .pass = Pass::backward});
  t.add({.kind = &kStatisticsGradient,
         .name = "test",
         .reads = {src, mean, k, l, as("src_grad_addend", scaled)},
         .writes = {src_grad},
         .in_place = {{"src_grad", "src_grad_addend"}},
         .pass = Pass::backward});
  return {scale_grad, shift_grad, src_grad};
}

std::vector<Operand> loss_with_gradient(Trial& t) {
  Numbers numbers(12);
  const Operand logits = random(t, numbers, t.matrix("logits", 3, 7)), result = t.array("result", kWords),
                labels = t.input("labels", {1, 1, 1, 3}, Dtype::i32), gradient = t.matrix("logits_grad", 3, 7);
  t.add(
      {.kind = &kLoss, .name = "test", .reads = {logits, labels}, .writes = {result}, .numbers = {{"smoothing", 0.1}}});
  t.add({.kind = &kLossGradient,
         .name = "test",
         .reads = {logits, labels},
         .writes = {gradient},
         .numbers = {{"smoothing", 0.1}},
         .pass = Pass::backward});
  return {result, gradient};
}

// `normalised`: which operand of the sum it is.
std::vector<Operand> residual(Trial& t, const char* normalised) {
  const Shape shape{2, 4, 4, 9};
  Numbers numbers(13);
  const Operand scaled = t.inner("scaled", shape, t.dtype()), dst = t.value("dst", shape);
  t.add({.kind = &kApply,
         .name = "test",
         .reads = {random(t, numbers, t.value("src", shape)), random(t, numbers, t.array("a", shape.c)),
                   random(t, numbers, t.array("b", shape.c))},
         .writes = {as("dst", scaled)},
         .numbers = {{"relu", 0.0}}});
  const std::string other = std::string(normalised) == "a" ? "b" : "a";
  t.add({.kind = &kAdd,
         .name = "sum",
         .reads = {as(normalised, scaled), as(other, random(t, numbers, t.value("other", shape)))},
         .writes = {dst},
         .numbers = {{"relu", 1.0}}});
  return {dst};
}

std::vector<Operand> sgd_with_norm(Trial& t) {
  Numbers numbers(14);
  const Operand weight = random(t, numbers, t.weights(30)), gradient = random(t, numbers, t.array("gradient", 30)),
                momentum = random(t, numbers, t.array("momentum", 30)), finite = t.array("finite", 1, Dtype::i32),
                squares = t.array("squares", 1, Dtype::f64);
  const Operand new_weight = t.over(weight, "new_weight"), new_momentum = t.over(momentum, "new_momentum");
  t.set(finite, 1);
  for (const int64_t first : {0, 20})
    t.add({.kind = &kSgd,
           .name = "parameter",
           .reads = {part(weight, first, first == 0 ? 20 : 10), part(gradient, first, first == 0 ? 20 : 10),
                     part(momentum, first, first == 0 ? 20 : 10), finite},
           .writes = {part(new_weight, first, first == 0 ? 20 : 10), part(new_momentum, first, first == 0 ? 20 : 10)},
           .numbers = {{"momentum", 0.9}, {"decay", first == 0 ? 0.01 : 0}},
           .in_place = {{"new_weight", "weight"}, {"new_momentum", "momentum"}},
           .pass = Pass::update});
  t.add({.kind = &kNorm, .name = "gradient", .reads = {gradient}, .writes = {squares}, .pass = Pass::update});
  return {new_weight, new_momentum, squares};
}

const std::vector<FusionCase> kCases = {
    {"cpu_batch_norm_gradient", cpu::fuse_batch_norm_gradients, &cpu::kBatchNormGradient, 1, 3, batch_norm_gradient},
    {"cpu_loss_with_gradient", cpu::fuse_losses, &cpu::kLossWithGradient, 1, 2, loss_with_gradient},
    {"cpu_residual_a", cpu::fuse_residuals, &kApply, 1, 2, [](Trial& t) { return residual(t, "a"); }},
    {"cpu_residual_b", cpu::fuse_residuals, &kApply, 1, 2, [](Trial& t) { return residual(t, "b"); }},
    {"cpu_sgd_with_norm", cpu::fuse_updates, &cpu::kSgdWithNorm, 1, 3, sgd_with_norm}};

// As the CPU would fuse the trial's program.
void fuse(Trial& t, Fusion fusion) {
  const auto backend = make_backend("cpu", {});
  t.rewrite([&](Program& program) { fusion(program, *backend); });
}

std::ostream& operator<<(std::ostream& out, const FusionCase& fusion) { return out << fusion.name; }

class Fused : public testing::TestWithParam<FusionCase> {};

TEST_P(Fused, TheReferenceRunsTheBody) {
  const FusionCase& fusion = GetParam();
  const std::vector<int32_t> labels = {2, -1, 6};
  Trial plain(kReference), fused(kReference);
  const std::vector<Operand> expected = fusion.build(plain), found = fusion.build(fused);
  fuse(fused, fusion.fuse);
  ASSERT_EQ(fused.program().nodes.size(), fusion.nodes);
  EXPECT_TRUE(fused.program().nodes.back().is(*fusion.kind));
  EXPECT_EQ(fused.program().nodes.back().body.size(), fusion.body);
  for (Trial* t : {&plain, &fused}) t->run({.labels = labels, .gradient_scale = 0.5f, .learning_rate = 0.125});
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(plain.get(expected[i]), fused.get(found[i])) << expected[i].role;
  for (const Node& node : fused.compiled().nodes) EXPECT_TRUE(node.body.empty());
}

// The order of a program and its memory plan know a fused node by its operands alone.
TEST_P(Fused, NamesWhatItsBodyReadsAndWrites) {
  const FusionCase& fusion = GetParam();
  Trial t(kReference);
  const std::vector<Operand> results = fusion.build(t);
  fuse(t, fusion.fuse);
  const Node& node = t.program().nodes.back();
  const auto covers = [](const std::vector<Operand>& list, const Operand& operand) {
    return std::any_of(list.begin(), list.end(), [&](const Operand& other) { return overlap(other, operand); });
  };
  for (const Node& inner : node.body)
    for (const Operand& read : inner.reads) {
      const bool inside = std::any_of(node.body.begin(), node.body.end(),
                                      [&](const Node& other) { return covers(other.writes, read); });
      EXPECT_TRUE(inside || covers(node.reads, read)) << inner.kind->name << " " << read.role;
    }
  for (const Operand& result : results) EXPECT_TRUE(covers(node.writes, result)) << result.role;
}

INSTANTIATE_TEST_SUITE_P(Fusions, Fused, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<FusionCase>& c) { return c.param.name; });

// Who else reads what a fusion would not write keeps the nodes apart.
TEST(FusionsKeepApart, WhatOthersRead) {
  for (const char* normalised : {"a", "b"}) {
    Trial t(kReference);
    const Operand dst = residual(t, normalised).front();
    const Operand scaled = t.program().nodes[0].at("dst"), copy = t.value("copy", t.program().shape(dst));
    t.add({.kind = &kAdd, .name = "other", .reads = {as("a", scaled), as("b", dst)}, .writes = {as("dst", copy)}});
    fuse(t, cpu::fuse_residuals);
    EXPECT_EQ(t.program().nodes.size(), 3u);
  }
  for (const char* role : {"src_grad", "a_grad", "b_grad", "k", "l"}) {
    Trial t(kReference);
    batch_norm_gradient(t);
    Operand read;
    for (const Node& node : t.program().nodes)
      for (const Operand& operand : node.writes)
        if (operand.role == role && read.value < 0) read = operand;
    const Shape shape = t.program().shape(read);
    t.add({.kind = &kCopy, .name = "other", .reads = {as("src", read)}, .writes = {t.inner("dst", shape, Dtype::f32)}});
    fuse(t, cpu::fuse_batch_norm_gradients);
    EXPECT_EQ(t.program().nodes.size(), 4u) << role;
  }
}

}  // namespace
}  // namespace packhorse

// Raw values: the plain nodes that they need, each against its formula and by finite differences, and the rewrites that
// put them into a program. (Whole networks are in raw_network_test.cc.)
#include "ops/raw_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/addends.h"
#include "ops/finite_difference.h"
#include "ops/fused_reference.h"
#include "ops/networks.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

// ---- Nodes

/// A node that reads `role`, if there is one.
Node node_with(const NodeKind& kind, const std::string& role = {}) {
  Node node{.kind = &kind, .name = "test"};
  if (!role.empty()) node.reads = {{role, 0, 0, 1}};
  return node;
}

/// The backends whose pools and gradients of batch norms can take raw values.
std::vector<BackendCase> cases() {
  std::vector<BackendCase> found = backend_cases();
  const auto lacks = [](const BackendCase& c) {
    return !make_backend(c.backend, {.dtype = c.dtype})->supported({}, node_with(kMaxPool, "sign"));
  };
  found.erase(std::remove_if(found.begin(), found.end(), lacks), found.end());
  return found;
}

class RawNodes : public testing::TestWithParam<BackendCase> {};
class CopiedChannels : public testing::TestWithParam<BackendCase> {};

/// A pool whose channels rise, fall, or do neither.
struct SignedPool {
  SignedPool(const BackendCase& c, bool overlapping)
      : kernel(overlapping ? 3 : 2),
        pad(overlapping ? 1 : 0),
        t(c),
        src(t.value("src", src_shape, 8)),
        dst(t.value("dst", dst_shape, 16)),
        src_grad(t.value("src_grad", src_shape)) {
    Numbers numbers(31);
    weights = numbers.vector(dst_shape.count());
    const std::map<std::string, double> window = {
        {"kernel", static_cast<double>(kernel)}, {"stride", 2.0}, {"pad", static_cast<double>(pad)}};
    const Operand argmax = t.places("argmax", dst_shape), sign = filled(t, t.array("sign", src_shape.c), signs);
    t.add({.kind = &kMaxPool, .name = "test", .reads = {src, sign}, .writes = {dst, argmax}, .numbers = window});
    t.add({.kind = &kMaxPoolGradient,
           .name = "test",
           .reads = {filled(t, t.value("dst_grad", dst_shape), weights), argmax},
           .writes = {src_grad},
           .numbers = window});
  }
  /// The first place of the window whose product with the sign is the greatest, as an element of src.
  size_t place(int64_t element, const std::vector<double>& values) const {
    const int64_t c = element % src_shape.c, x = element / src_shape.c % dst_shape.w,
                  y = element / src_shape.c / dst_shape.w % dst_shape.h, n = element / src_shape.c / 9;
    double greatest = -INFINITY;
    size_t found = 0;
    for (int64_t sy = 2 * y - pad; sy < 2 * y - pad + kernel; ++sy)
      for (int64_t sx = 2 * x - pad; sx < 2 * x - pad + kernel; ++sx) {
        if (sy < 0 || sx < 0 || sy >= src_shape.h || sx >= src_shape.w) continue;
        const auto at = static_cast<size_t>(((n * src_shape.h + sy) * src_shape.w + sx) * src_shape.c + c);
        const double product = signs[static_cast<size_t>(c)] * values[at];
        if (product > greatest) found = at;
        greatest = std::max(greatest, product);
      }
    return found;
  }

  const Shape src_shape{2, 6, 6, 5}, dst_shape{2, 3, 3, 5};
  const std::vector<double> signs = {1, -1, 0, 0.25, -3};
  int64_t kernel, pad;
  Trial t;
  Operand src, dst, src_grad;
  std::vector<double> weights;
};

TEST_P(RawNodes, APoolTakesWhatItsScaleMakesTheGreatest) {
  for (const bool overlapping : {false, true}) {
    SignedPool p(GetParam(), overlapping);
    Numbers numbers(32);
    std::vector<double> values = numbers.vector(p.src_shape.count(), -3, 3);
    for (double& value : values) value = std::round(value);  // so that there are equals
    p.t.set(p.src, values);
    p.t.run();
    std::vector<double> scattered(values.size(), 0.0);
    for (int64_t i = 0; i < p.dst_shape.count(); ++i) {
      const size_t place = p.place(i, values);
      ASSERT_EQ(p.t.get(p.dst, i), values[place]) << i;
      scattered[place] += p.weights[static_cast<size_t>(i)];
    }
    // At most four windows meet at a place.
    for (size_t i = 0; i < scattered.size(); ++i)
      ASSERT_NEAR(p.t.get(p.src_grad)[i], scattered[i], 4 * 4 * rounding(GetParam().dtype)) << i;
    EXPECT_TRUE(p.t.gaps_untouched(p.dst));
  }
}

TEST(RawNodesReference, GradientOfASignedPoolMatchesFiniteDifferences) {
  SignedPool p(kReference, true);
  std::vector<double> values(static_cast<size_t>(p.src_shape.count()));
  // All different, and further apart than a step.
  ASSERT_NE(values.size() % 37, 0u);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(i * 37 % values.size()) * 4 * FiniteDifferences::kLargestStep;
  p.t.set(p.src, values);
  p.t.run();
  const std::vector<double> by_src = p.t.get(p.src_grad);
  FiniteDifferences(p.t, {{p.dst, p.weights}}).check(p.src, by_src);
}

TEST_P(CopiedChannels, GoThereAndTheirGradientsBack) {
  const Shape shape{2, 3, 3, 7};
  for (const Addend addend : kAddends) {
    Trial t(GetParam());
    Numbers numbers(33);
    const std::vector<double> values = numbers.vector(shape.count()), gradient = numbers.vector(shape.count());
    const Operand src = filled(t, t.value("src", shape, 4), values), dst = t.value("dst", shape, 12),
                  dst_grad = filled(t, t.value("dst_grad", shape, 12), gradient);
    const Contribution src_grad(t, t.value("src_grad", shape, 4), t.value("before", shape), addend,
                                numbers.vector(shape.count()));
    t.add({.kind = &kCopyChannels, .name = "test", .reads = {src}, .writes = {dst}});
    Node back{.kind = &kCopyChannelsGradient, .name = "test", .reads = {dst_grad}};
    src_grad.read_in(back);
    src_grad.write_in(back);
    t.add(back);
    t.run();
    EXPECT_EQ(t.get(dst), values) << addend;
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(t.get(src_grad.result)[i], gradient[i] + src_grad.before[i], 2 * rounding(GetParam().dtype))
          << addend;
    EXPECT_TRUE(t.gaps_untouched(dst));
    EXPECT_TRUE(t.gaps_untouched(src_grad.result));
  }
}

TEST_P(CopiedChannels, AFillWritesItsRange) {
  Trial t(GetParam());
  const Operand wide = filled(t, t.array("dst", 5), {7, 7, 7, 7, 7});
  t.add({.kind = &kFill, .name = "test", .writes = {part(wide, 1, 3)}, .numbers = {{"value", 0.5}}});
  t.run();
  EXPECT_EQ(t.get(wide), (std::vector<double>{7, 0.5, 0.5, 0.5, 7}));
}

/// A batch norm, forward and backward, with scales of all signs and 0. ReLU lets two channels pass whole and stops one.
struct BatchNorm {
  BatchNorm(const BackendCase& c, bool separate, bool relu) : t(c) {
    Numbers numbers(34);
    const auto values = [&](const char* name) {
      return filled(t, t.value(name, shape), numbers.vector(shape.count()));
    };
    const auto channels = [&](const char* name, Dtype dtype = Dtype::f32) { return t.array(name, shape.c, dtype); };
    src = values("src"), dst = t.value("dst", shape), dst_grad = values("dst_grad"),
    src_grad = t.value("src_grad", shape);
    scale = filled(t, channels("scale"), {0.75, -1.25, 0}), shift = filled(t, channels("shift"), {8, 8, -8});
    scale_grad = channels("scale_grad"), shift_grad = channels("shift_grad");
    const Operand mean = channels("mean"), variance = channels("variance"), a = channels("a"), b = channels("b"),
                  a_grad = channels("a_grad", Dtype::f64), b_grad = channels("b_grad", Dtype::f64), k = channels("k"),
                  l = channels("l"), between = t.value("between", shape);
    const std::map<std::string, double> finish = {{"epsilon", kBatchNormEpsilon},
                                                  {"count", static_cast<double>(shape.pixels())}};
    t.add({.kind = &kStatistics, .name = "bn", .reads = {src}, .writes = {mean, variance}});
    t.add(
        {.kind = &kFinish, .name = "bn", .reads = {mean, variance, scale, shift}, .writes = {a, b}, .numbers = finish});
    t.add({.kind = &kApply, .name = "bn", .reads = {src, a, b}, .writes = {dst}, .numbers = {{"relu", relu}}});
    t.add({.kind = &kApplyGradient,
           .name = "bn",
           .reads = {dst_grad, src, a, b},
           .writes = {as(separate ? "masked_grad" : "src_grad", between), a_grad, b_grad},
           .numbers = {{"relu", relu}}});
    t.add({.kind = &kFinishGradient,
           .name = "bn",
           .reads = {a_grad, b_grad, mean, variance, scale},
           .writes = {scale_grad, shift_grad, k, l},
           .numbers = finish});
    Node last{.kind = &kStatisticsGradient, .name = "bn", .reads = {src, mean, k, l}, .writes = {src_grad}};
    last.reads.push_back(as(separate ? "masked_grad" : "src_grad_addend", between));
    if (separate) last.reads.push_back(a);
    t.add(last);
  }

  const Shape shape{2, 3, 3, 3};
  Trial t;
  Operand src, dst, dst_grad, src_grad, scale, shift, scale_grad, shift_grad;
};

TEST_P(RawNodes, AMaskedGradientIsMultipliedInTheLastPass) {
  for (const bool relu : {false, true}) {
    BatchNorm together(GetParam(), false, relu), separate(GetParam(), true, relu);
    together.t.run();
    separate.t.run();
    EXPECT_EQ(separate.t.get(separate.scale_grad), together.t.get(together.scale_grad));
    EXPECT_EQ(separate.t.get(separate.shift_grad), together.t.get(together.shift_grad));
    // The product and the sum are rounded once each, or only once. |a| < 1.25 / 0.4, as numbers in [-1, 1] spread.
    for (int64_t i = 0; i < separate.shape.count(); ++i)
      EXPECT_NEAR(separate.t.get(separate.src_grad, i), together.t.get(together.src_grad, i),
                  4 * 4 * rounding(GetParam().dtype));
  }
}

TEST(RawNodesReference, ABatchNormOfSeparateMasksMatchesFiniteDifferences) {
  for (const bool relu : {false, true}) {
    BatchNorm p(kReference, true, relu);
    p.t.run();
    const std::vector<double> by_src = p.t.get(p.src_grad), by_scale = p.t.get(p.scale_grad),
                              by_shift = p.t.get(p.shift_grad);
    // y = a * src + b: a, b and the product are rounded, each below 16.
    FiniteDifferences differences(p.t, {{p.dst, p.t.get(p.dst_grad), 3 * 16 * rounding(Dtype::f32)}});
    differences.check(p.src, by_src);
    differences.check(p.scale, by_scale);
    differences.check(p.shift, by_shift);
  }
}

// Its programs ask for none of this; a kernel that ignored such an operand would give wrong numbers.
TEST(RawNodesOfTheCpu, AreRefused) {
  const auto backend = make_backend("cpu", {});
  EXPECT_TRUE(backend->supported({}, node_with(kMaxPool)));
  EXPECT_FALSE(backend->supported({}, node_with(kMaxPool, "sign")));
  EXPECT_TRUE(backend->supported({}, node_with(kApplyGradient)));
  EXPECT_FALSE(backend->supported({}, node_with(kApplyGradient, "masked_grad")));
  EXPECT_TRUE(backend->supported({}, node_with(kStatisticsGradient)));
  EXPECT_FALSE(backend->supported({}, node_with(kStatisticsGradient, "masked_grad")));
}

INSTANTIATE_TEST_SUITE_P(Backends, RawNodes, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Backends, CopiedChannels, testing::ValuesIn(backend_cases()), case_name);

// ---- Rewrites

Program forward_of(const Graph& graph, const std::vector<Rewrite>& rewrites, Phase phase = Phase::training) {
  ForwardOptions options = step_of(2).forward;
  options.phase = phase;
  Program program = forward_program(graph, options);
  for (const Rewrite rewrite : rewrites) rewrite(program);
  verify(program);
  return program;
}

// Kind, name, operands' roles and values: "max_pool pool src=stem/conv sign=weights -> dst=pool raw".
std::vector<std::string> lines_of(const Program& program, const std::vector<const NodeKind*>& kinds) {
  std::vector<std::string> lines;
  for (const Node& node : program.nodes) {
    if (std::find(kinds.begin(), kinds.end(), node.kind) == kinds.end()) continue;
    std::string line = std::string(node.kind->name) + " " + node.name;
    const auto append = [&](const Operand& operand) {
      const Value& value = program.value(operand);
      line += " " + operand.role + "=" + value.name;
      if (operand.count != value.shape.c && value.storage == Storage::slab)
        line += "[" + std::to_string(operand.first) + ":" + std::to_string(operand.first + operand.count) + "]";
    };
    for (const Operand& read : node.reads) append(read);
    line += " ->";
    for (const Operand& result : node.writes) append(result);
    lines.push_back(line);
  }
  return lines;
}
using Lines = std::vector<std::string>;

int conv_bn(GraphBuilder& net, const char* name, int src, bool relu = true) {
  return net.conv_bn({.name = name, .src = src, .out = 8, .kernel = 3, .pad = 1, .relu = relu});
}

TEST(TakeResiduals, ASumTakesScaledValuesAsTheyCome) {
  GraphBuilder net("residual", 8, 3);
  const int x = conv_bn(net, "stem", net.input());
  net.classifier(net.add_relu("sum", conv_bn(net, "block", x, false), x));
  const Program program = forward_of(net.finish(), {take_residuals});
  EXPECT_EQ(lines_of(program, {&kApply, &kAdd}),
            (Lines{"apply stem/bn src=stem/conv a=stem/bn a b=stem/bn b -> dst=stem/bn",
                   "apply sum src=block/conv a=block/bn a b=block/bn b residual=stem/bn -> dst=sum"}));
}

TEST(TakeResiduals, LeavesASumOfAValueWithItselfAndOfValuesThatReluCut) {
  GraphBuilder net("sums", 8, 3);
  int x = conv_bn(net, "stem", net.input(), false);
  x = net.add_relu("doubled", x, x);
  net.classifier(net.add_relu("cut", conv_bn(net, "block", x), x));
  EXPECT_EQ(lines_of(forward_of(net.finish(), {take_residuals}), {&kAdd}).size(), 2u);
}

TEST(PoolRawValues, ThePoolComesFirstAndLooksAtTheScale) {
  GraphBuilder net("stem", 16, 3);
  const int x = net.pool(LayerKind::max_pool, "pool", conv_bn(net, "stem", net.input()), 3, 2, 0, true);
  net.classifier(conv_bn(net, "next", x));
  const Program program = forward_of(net.finish(), {pool_raw_values});
  const Lines lines = lines_of(program, {&kMaxPool, &kApply});
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "max_pool pool src=stem/conv sign=weights -> dst=pool raw argmax=pool argmax");
  EXPECT_EQ(lines[1], "apply stem/bn src=pool raw a=stem/bn a b=stem/bn b -> dst=pool");
  // The sign is the scale, known before the statistics; those are still taken of all pixels.
  const auto finish =
      std::find_if(program.nodes.begin(), program.nodes.end(), [](const Node& n) { return n.is(kFinish); });
  const auto pool =
      std::find_if(program.nodes.begin(), program.nodes.end(), [](const Node& n) { return n.is(kMaxPool); });
  EXPECT_EQ(pool->at("sign").first, finish->at("scale").first);
  EXPECT_EQ(finish->number("count"), 2 * 16 * 16);
}

TEST(PoolRawValues, LeavesAPoolWhoseSourceOthersRead) {
  GraphBuilder net("shared", 16, 3);
  const int x = conv_bn(net, "stem", net.input());
  const int pool = net.pool(LayerKind::max_pool, "pool", x, 3, 1, 1);
  net.classifier(net.concat("joined", {pool, conv_bn(net, "beside", x)}));
  const Graph graph = net.finish();
  EXPECT_EQ(text_of(forward_of(graph, {pool_raw_values})), text_of(forward_of(graph, {})));
}

// Two branches and a pool of the former block: that one keeps scale 1 and shift 0.
TEST(JoinRawValues, AConcatenationHoldsRawValuesWithAWideScale) {
  GraphBuilder net("block", 8, 3);
  const int x = conv_bn(net, "stem", net.input());
  const int pool = net.pool(LayerKind::max_pool, "pool", x, 3, 1, 1);
  net.classifier(net.concat("joined", {conv_bn(net, "one", x), pool, conv_bn(net, "two", x)}));
  const Program program = forward_of(net.finish(), {join_raw_values, delay_max_pools});
  EXPECT_EQ(
      lines_of(program, {&kApply, &kCopyChannels, &kFill, &kMaxPool}),
      (Lines{"apply stem/bn src=stem/conv a=stem/bn a b=stem/bn b -> dst=stem/bn",
             "copy_channels one/bn src=one/conv -> dst=joined raw[0:8]",
             "copy_channels two/bn src=two/conv -> dst=joined raw[16:24]", "fill pool -> dst=joined a[8:16]",
             "fill pool -> dst=joined b[8:16]", "max_pool pool src=stem/bn -> dst=joined raw[8:16] argmax=pool argmax",
             "apply joined src=joined raw a=joined a b=joined b -> dst=joined"}));
  EXPECT_EQ(lines_of(program, {&kFinish})[1].substr(0, 60),
            "finish one/bn mean=batch_statistics variance=batch_statistic");
  EXPECT_NE(lines_of(program, {&kFinish})[1].find("-> a=joined a[0:8] b=joined b[0:8]"), std::string::npos);
  EXPECT_NE(lines_of(program, {&kFinish})[2].find("-> a=joined a[16:24] b=joined b[16:24]"), std::string::npos);
}

TEST(JoinRawValues, LeavesBranchesThatOneReluCannotServe) {
  for (const bool relu : {false, true}) {
    GraphBuilder net("mixed", 8, 3);
    const int x = conv_bn(net, "stem", net.input(), false);
    // With ReLU behind the other branch, what the pool passes on would be cut; without, the second one would not be.
    const int other = relu ? net.pool(LayerKind::max_pool, "pool", x, 3, 1, 1) : conv_bn(net, "cut", x, true);
    net.classifier(net.concat("joined", {conv_bn(net, "one", x, relu), other}));
    const Graph graph = net.finish();
    EXPECT_EQ(text_of(forward_of(graph, {join_raw_values})), text_of(forward_of(graph, {}))) << relu;
  }
}

// The pool's gradient is then the first contribution to its source's, and the data gradient adds it.
TEST(DelayMaxPools, TheDataGradientAddsThePoolsGradient) {
  GraphBuilder net("block", 8, 3);
  const int x = conv_bn(net, "stem", net.input());
  const int pool = net.pool(LayerKind::max_pool, "pool", x, 3, 1, 1);
  net.classifier(net.concat("joined", {conv_bn(net, "one", x), pool}));
  const Graph graph = net.finish();
  const auto adds = [&](const std::vector<Rewrite>& rewrites, const NodeKind& kind) {
    const Program program = training_step(graph, step_of(2), rewrites);
    return std::any_of(program.nodes.begin(), program.nodes.end(),
                       [&](const Node& node) { return node.is(kind) && node.find("src_grad_addend") != nullptr; });
  };
  EXPECT_TRUE(adds({}, kMaxPoolGradient));
  EXPECT_FALSE(adds({delay_max_pools}, kMaxPoolGradient));
  EXPECT_TRUE(adds({delay_max_pools}, kConvolutionDataGradient));
}

TEST(CopyRanges, WhatAConvolutionReadsLiesDense) {
  const Program program = forward_of(small_form("inception-bn-small"), {std::begin(kRawValues), std::end(kRawValues)});
  int convolutions = 0;
  for (const Node& node : program.nodes) {
    if (!node.is(kConvolution)) continue;
    ++convolutions;
    for (const char* role : {"src", "dst"})
      EXPECT_EQ(node.at(role).count, program.value(node.at(role)).shape.c) << node.name << " " << role;
    const int apply = writer_of(program, node.at("src"));
    if (!is(program, apply, kApply)) continue;
    const Operand& raw = node_at(program, apply).at("src");
    EXPECT_EQ(raw.count, program.value(raw).shape.c) << node.name;
  }
  EXPECT_EQ(convolutions, 14);
}

// In inference scale and shift are known before: only what the CPU's rewrites do happens.
TEST(RawValues, LeaveInferenceAlone) {
  for (const std::string& name : network_names())
    EXPECT_EQ(text_of(forward_of(small_form(name), {std::begin(kRawValues), std::end(kRawValues)}, Phase::inference)),
              text_of(forward_of(small_form(name), {move_average_pools, merge_siblings}, Phase::inference)))
        << name;
}

// ---- What follows from them after the backward pass

int64_t count(const Program& program, const NodeKind& kind) {
  return std::count_if(program.nodes.begin(), program.nodes.end(), [&](const Node& node) { return node.is(kind); });
}

Program step_with(const Graph& graph, const std::vector<Fusion>& fusions) {
  const FusedReference backend;
  Program program = training_step(graph, step_of(2), backend.algebraic());
  for (const Fusion fusion : fusions) fusion(program, backend);
  verify(program);
  return program;
}

TEST(SeparateMasks, EveryMultiplicationWaitsForTheLastPass) {
  for (const char* name : {"inception-bn-21k", "inception-bn-small", "resnet-50"}) {
    const Program program = step_with(small_form(name), {separate_masks});
    for (const Node& node : program.nodes) {
      if (node.is(kApplyGradient)) {
        EXPECT_EQ(node.find("src_grad"), nullptr) << name << " " << node.name;
      }
      if (node.is(kStatisticsGradient)) {
        EXPECT_NE(node.find("masked_grad"), nullptr) << name << " " << node.name;
      }
    }
  }
}

// A residual's gradient is the masked one; without ReLU the given one is. Neither is written twice.
TEST(SeparateMasks, TheSameNumbersAreWrittenOnce) {
  const Program program = step_with(small_form("resnet-50"), {separate_masks});
  for (const Node& node : program.nodes) {
    if (!node.is(kApplyGradient)) continue;
    const bool written_elsewhere = node.find("residual_grad") != nullptr || !node.flag("relu");
    EXPECT_EQ(node.find("masked_grad") == nullptr, written_elsewhere) << node.name;
  }
}

TEST(SeparateMasks, LeavesAGradientThatOthersRead) {
  const FusedReference backend;
  const Program plain = training_step(small_network(), step_of(2), backend.algebraic());
  for (size_t n = 0; n < plain.nodes.size(); ++n) {
    if (!plain.nodes[n].is(kApplyGradient)) continue;
    Program program = plain;
    const Operand scaled = plain.nodes[n].at("src_grad");
    Value copy = plain.value(scaled);
    const Operand dst = program.whole(program.add(std::move(copy)), "dst");
    program.nodes.push_back({.kind = &kCopyChannels,
                             .name = "other",
                             .reads = {as("src", scaled)},
                             .writes = {part(dst, 0, scaled.count)}});
    separate_masks(program, backend);
    EXPECT_NE(program.nodes[n].find("src_grad"), nullptr) << plain.nodes[n].name;
  }
}

// Copies remain only where a convolution's operand must be dense: forward, and none backward.
TEST(DropCopies, PointwisePassesReadAndWriteInPlace) {
  const Graph graph = small_form("inception-bn-21k");
  const Program before = step_with(graph, {separate_masks}), after = step_with(graph, {separate_masks, drop_copies});
  EXPECT_EQ(count(before, kCopyChannels), count(before, kCopyChannelsGradient));
  EXPECT_EQ(count(after, kCopyChannels), count(before, kCopyChannels) - 7);  // seven average pools
  EXPECT_EQ(count(after, kCopyChannelsGradient), 0);
  for (const Node& node : after.nodes) {
    if (!node.is(kAveragePool)) continue;
    EXPECT_LT(node.at("dst").count, after.value(node.at("dst")).shape.c) << node.name;
  }
  // What the convolutions wrote, and what lies in a concatenation, is not kept twice.
  for (const Node& node : after.nodes)
    if (node.is(kCopyChannels)) {
      for (const int reader : readers_of(after, node.at("src")))
        EXPECT_NE(node_at(after, reader).pass, Pass::backward) << node.name;
    }
}

// A backend whose passes want dense operands keeps the copies.
TEST(DropCopies, AskWhetherAPassTakesASlice) {
  class Dense : public FusedReference {
   public:
    bool supported(const Program& program, const Node& node) const override {
      const auto slice = [&](const Operand& operand) {
        return program.value(operand).storage == Storage::slab && program.value(operand).shape.h > 1 &&
               !whole(program, operand);
      };
      const bool pass = node.is(kAveragePool) || node.is(kStatisticsGradient);
      const bool takes_slice = std::any_of(node.writes.begin(), node.writes.end(), slice) ||
                               (node.is(kStatisticsGradient) && slice(node.at("masked_grad")));
      return !(pass && takes_slice) && FusedReference::supported(program, node);
    }
  };
  const Dense backend;
  Program program = step_with(small_form("inception-bn-small"), {separate_masks});
  const int64_t copies = count(program, kCopyChannels), gradients = count(program, kCopyChannelsGradient);
  drop_copies(program, backend);
  EXPECT_EQ(count(program, kCopyChannels), copies);
  EXPECT_EQ(count(program, kCopyChannelsGradient), gradients);
  EXPECT_GT(gradients, 0);
  EXPECT_NO_THROW(verify(program));
}

}  // namespace
}  // namespace packhorse

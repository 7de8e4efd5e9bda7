// Rewrites: what they put in the place of what, and how often in each network.
#include "ops/rewrites.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/backward.h"
#include "ops/cpu/rewrites.h"
#include "ops/networks.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

int64_t count(const Program& program, const NodeKind& kind) {
  return std::count_if(program.nodes.begin(), program.nodes.end(), [&](const Node& node) { return node.is(kind); });
}

Program with_cpu_fusions(const Graph& graph, bool algebraic = true) {
  const auto backend = make_backend("cpu", {});
  Program program = training_step(graph, step_of(2), algebraic ? backend->algebraic() : std::vector<Rewrite>{});
  for (const Fusion fusion : cpu::kFusions) fusion(program, *backend);
  verify(program);
  return program;
}

TEST(Algebra, MergesSiblingsBehindTheirSource) {
  const Graph graph = make_network("inception-bn-21k", 64, 10);
  const Program plain = training_step(graph, step_of(1), {});
  const std::vector<Rewrite> both = {move_average_pools, merge_siblings};
  const Program merged = training_step(graph, step_of(1), both);
  // Seven blocks merge four siblings into one. 5b merges only three, because a max pool cannot move behind its
  // convolution, and two blocks merge two.
  EXPECT_EQ(count(plain, kConvolution), 69);
  EXPECT_EQ(count(merged, kConvolution), 69 - 7 * 3 - 2 - 2);
  for (const Node& node : merged.nodes)
    if (node.is(kAveragePool) && node.name == "3a/pool") {
      EXPECT_EQ(node.at("dst").count, 48);  // not 288
    }
}

TEST(Algebra, LeavesWhatItMayNotChange) {
  const Graph graph = make_network("resnet-50", 64, 10);  // no two convolutions with adjacent weights read one source
  const std::vector<Rewrite> both = {move_average_pools, merge_siblings};
  EXPECT_EQ(text_of(training_step(graph, step_of(1), both)), text_of(training_step(graph, step_of(1), {})));
}

// How often each fusion happens: one that silently stops is seen here.
TEST(CpuFusions, HappenAsOftenAsTheNetworksAllow) {
  struct Expected {
    std::string network;
    int64_t batch_norms, residuals;
  };
  for (const Expected& e : {Expected{"inception-bn-21k", 69, 0}, Expected{"inception-bn", 69, 0},
                            Expected{"inception-bn-small", 21, 0}, Expected{"resnet-50", 53, 16}}) {
    const Program program = with_cpu_fusions(small_form(e.network));
    EXPECT_EQ(count(program, cpu::kBatchNormGradient), e.batch_norms) << e.network;
    EXPECT_EQ(count(program, kApplyGradient) + count(program, kStatisticsGradient), 0) << e.network;
    const auto residuals = std::count_if(program.nodes.begin(), program.nodes.end(), [](const Node& node) {
      return node.is(kApply) && node.find("residual") != nullptr && node.body.size() == 2;
    });
    EXPECT_EQ(residuals, e.residuals) << e.network;
    EXPECT_EQ(count(program, kAdd), 0) << e.network;
    EXPECT_EQ(count(program, cpu::kLossWithGradient), 1) << e.network;
    EXPECT_EQ(count(program, cpu::kSgdWithNorm), 1) << e.network;
    EXPECT_EQ(count(program, kSgd) + count(program, kNorm) + count(program, kLoss), 0) << e.network;
  }
}

TEST(CpuFusions, KeepWhatTheyReplacedAsTheirBody) {
  const Graph graph = small_network();
  Program fused = with_cpu_fusions(graph, false);
  const Program plain = training_step(graph, step_of(2), {});
  expand_bodies(fused);
  // The same nodes; those of a residual and of the update may have moved within what the values allow.
  const auto lines = [](const Program& program) {
    Program copy = program;
    remove_unused_values(copy);
    std::vector<std::string> all;
    for (const Node& node : copy.nodes) {
      Program one{.name = "", .values = copy.values};
      one.nodes = {node};
      one.nodes[0].in_place.clear();
      all.push_back(text_of(one));
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(lines(fused), lines(plain));
  EXPECT_NO_THROW(verify(fused));
}

/// A backend that cannot run a fused kind.
class Without : public Backend {
 public:
  explicit Without(const NodeKind& kind) : kind_(kind) {}
  std::string name() const override { return "without"; }
  void rewrite(Program& /*program*/, Program& /*refresh*/) override {}
  bool supported(const Program& /*program*/, const Node& node) const override { return !node.is(kind_); }
  uint64_t workspace(const Program& /*program*/, const Node& /*node*/) override { return 0; }
  Run bind(const Site& site) override { refuse_node(*this, site.node()); }

 private:
  const NodeKind& kind_;
};

TEST(CpuFusions, AskWhetherTheBackendSupportsTheResult) {
  for (const NodeKind* kind : {&cpu::kBatchNormGradient, &cpu::kLossWithGradient, &cpu::kSgdWithNorm}) {
    const Without backend(*kind);
    Program program = training_step(small_network(), step_of(2), {});
    for (const Fusion fusion : cpu::kFusions) fusion(program, backend);
    EXPECT_EQ(count(program, *kind), 0) << kind->name;
    EXPECT_NO_THROW(verify(program));
  }
}

int number_of(const Program& program, const NodeKind& kind, const std::string& name) {
  for (size_t n = 0; n < program.nodes.size(); ++n)
    if (program.nodes[n].is(kind) && program.nodes[n].name == name) return static_cast<int>(n);
  throw Error({"no such node", name, ""});
}

// The statistics of the convolution's result lie between the two; the third node needs them.
TEST(Fuse, RefusesNodesThatNeedWhatLiesBetween) {
  Program program = training_step(small_network(), step_of(2), {});
  const int first = number_of(program, kConvolution, "stem/conv"), last = number_of(program, kApply, "stem/bn");
  EXPECT_THROW(fuse(program, {first, last}, {.kind = &kApply, .name = "fused"}), Error);
}

// The sum of a bucket that ends with a batch norm's gradients stands between its nodes: it moves behind the fused one.
TEST(Fuse, MovesWhoNeedsAResultBehind) {
  StepOptions options = step_of(2);
  options.bucket_bytes = 8;
  const auto backend = make_backend("cpu", {});
  Program program = training_step(small_network(), options, {});
  const int finish = number_of(program, kFinishGradient, "r/conv/bn");
  ASSERT_TRUE(program.nodes[static_cast<size_t>(finish) + 1].is(kSum));
  cpu::fuse_batch_norm_gradients(program, *backend);
  EXPECT_NO_THROW(verify(program));
  const int fused = number_of(program, cpu::kBatchNormGradient, "r/conv/bn");
  EXPECT_TRUE(program.nodes[static_cast<size_t>(fused) + 1].is(kSum));
}

TEST(Recompute, ClonesAnApplyBeforeItsFirstBackwardReader) {
  const Program kept = training_step(small_network(), step_of(2), {});
  const Program program = training_step(small_network(), step_of(2, Dtype::f32, true), {});
  EXPECT_GT(count(program, kApply), count(kept, kApply));
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& clone = program.nodes[n];
    if (!clone.is(kApply) || clone.pass != Pass::backward) continue;
    size_t reader = n + 1;  // clones of the other ranges of the same value may follow
    while (program.nodes[reader].is(kApply)) ++reader;
    const auto& reads = program.nodes[reader].reads;
    EXPECT_TRUE(std::any_of(reads.begin(), reads.end(), [&](const Operand& read) {
      return read.value == clone.at("dst").value;
    })) << clone.name;
  }
  // Nothing that only `apply` wrote in the forward pass is read after it.
  for (const Node& node : program.nodes) {
    if (node.pass == Pass::forward) continue;
    for (const Operand& read : node.reads) {
      const int writer = writer_of(program, read);
      const bool forward_apply = writer >= 0 && program.nodes[static_cast<size_t>(writer)].is(kApply) &&
                                 program.nodes[static_cast<size_t>(writer)].pass == Pass::forward;
      EXPECT_FALSE(forward_apply && program.value(read).name != "a") << node.kind->name << " " << node.name;
    }
  }
}

// The normalised values need not be written: the sum takes them as they come, with the bits that they would have had.
TEST(CpuFusions, AResidualChangesNoBit) {
  for (const BackendCase& c : backend_cases()) {
    if (c.backend != "cpu") continue;
    for (const bool relu : {false, true})
      for (const int64_t channels : {16, 7, 80}) {
        const Shape shape{2, 9, 9, channels};
        std::vector<std::vector<double>> results;
        for (const bool fused : {false, true}) {
          Trial t(c);
          Numbers numbers(3);
          const Operand src = t.value("src", shape, 8), other = t.value("other", shape), dst = t.value("dst", shape, 4);
          const Operand a = t.array("a", channels), b = t.array("b", channels);
          for (const Operand& operand : {src, other}) t.set(operand, numbers.vector(t.count(operand), -3, 3));
          for (const Operand& operand : {a, b}) t.set(operand, numbers.vector(t.count(operand), -2, 2));
          // A value that the test could read after the run is kept: nothing is fused.
          const Operand between = fused ? t.inner("normalised", shape, c.dtype) : t.value("normalised", shape);
          t.add({.kind = &kApply, .name = "bn", .reads = {src, a, b}, .writes = {as("dst", between)}});
          t.add({.kind = &kAdd,
                 .name = "sum",
                 .reads = {as("a", between), as("b", other)},
                 .writes = {dst},
                 .numbers = {{"relu", relu}}});
          t.run();
          EXPECT_EQ(count(t.compiled(), kAdd), fused ? 0 : 1);
          EXPECT_TRUE(t.gaps_untouched(dst));
          results.push_back(t.get(dst));
        }
        EXPECT_EQ(results[0], results[1]) << name_of(c.dtype) << " relu " << relu << " channels " << channels;
      }
  }
}

TEST(CpuFusions, ASumOfAValueWithItselfStays) {
  GraphBuilder net("doubled", 8, 3);
  const int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 8, .kernel = 3, .pad = 1, .relu = false});
  net.classifier(net.add_relu("double", x, x));
  const Program program = with_cpu_fusions(net.finish());
  EXPECT_EQ(count(program, kAdd), 1);
}

TEST(Copies, AreMadeByTheStepAfterTheUpdateAndByTheRefresh) {
  const auto backend = make_backend("cpu", {});
  Program refresh, program = training_step(small_form("inception-bn-small"), step_of(2), backend->algebraic());
  backend->rewrite(program, refresh);
  std::map<std::string, int> made;
  for (const Node& node : program.nodes) {
    if (!node.is(kCopy)) continue;
    EXPECT_EQ(program.value(node.at("src")).name, std::string(kWeights) + "'");  // the new weights
    ++made[program.value(node.at("dst")).state];
  }
  EXPECT_FALSE(made.empty());
  EXPECT_EQ(static_cast<int64_t>(made.size()), count(refresh, kCopy));
  for (const Node& node : refresh.nodes) EXPECT_EQ(made[refresh.value(node.at("dst")).state], 1);
  // Inference reads the same copies and makes none.
  Program inference = inference_program(small_form("inception-bn-small"), step_of(2).forward, backend->algebraic());
  const size_t nodes = refresh.nodes.size();
  backend->rewrite(inference, refresh);
  EXPECT_EQ(refresh.nodes.size(), nodes);
  EXPECT_EQ(count(inference, kCopy), 0);
}

}  // namespace
}  // namespace packhorse

// Fusions around convolutions: what they put in the place of what, what keeps nodes apart, how many convolutions of
// each network run fused, and that a fused program is free of races, smaller than the plain one, and begins its sums
// early. (That whole networks keep their gradients is in raw_network_test.cc.)
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/compile.h"
#include "ops/fused_reference.h"
#include "ops/networks.h"
#include "ops/races.h"
#include "ops/trial.h"

namespace packhorse {
namespace {

// ---- Each fusion on a small program

constexpr Shape kShape{2, 4, 4, 9};
constexpr int64_t kChannels = kShape.c;

/// A program in the making. Values that a fusion must not write are inner; the others are compared.
class Small {
 public:
  explicit Small(Trial& t) : t_(t) {}

  Operand given(const std::string& name, Shape shape = kShape) { return random(t_.value(name, shape)); }
  Operand channels(const std::string& name) { return random(t_.array(name, kChannels)); }
  Operand inner(const std::string& name, Shape shape = kShape) { return t_.inner(name, shape, Dtype::f32); }
  Operand result(const std::string& name, Shape shape = kShape) { return compared(t_.value(name, shape)); }
  Operand sums(const std::string& name, Dtype dtype) { return compared(t_.array(name, kChannels, dtype)); }
  Operand places(const std::string& name, Shape shape) { return compared(t_.places(name, shape)); }
  Operand weight() {
    if (weight_.value < 0) weight_ = random(t_.weights(kChannels * kChannels * 9));
    return weight_;
  }

  Node node(const NodeKind& kind, std::vector<Operand> reads, std::vector<Operand> writes) {
    return {.kind = &kind, .name = "test", .reads = std::move(reads), .writes = std::move(writes)};
  }
  void add(Node node) { t_.add(std::move(node)); }
  void apply(const Operand& src, const Operand& dst, const std::string& suffix, bool relu,
             const std::vector<Operand>& residual = {}) {
    Node made = node(kApply, {as("src", src), as("a", channel("a" + suffix)), as("b", channel("b" + suffix))},
                     {as("dst", dst)});
    for (const Operand& operand : residual) made.reads.push_back(as("residual", operand));
    made.numbers = {{"relu", relu}};
    add(made);
  }
  void mask(const Operand& dst_grad, const Operand& src, const std::string& suffix, bool relu,
            const std::vector<Operand>& residual = {}, const std::vector<Operand>& gradient = {}) {
    Node made =
        node(kApplyGradient,
             {as("dst_grad", dst_grad), as("src", src), as("a", channel("a" + suffix)), as("b", channel("b" + suffix))},
             {as("a_grad", sums("a_grad" + suffix, Dtype::f64)), as("b_grad", sums("b_grad" + suffix, Dtype::f64))});
    for (const Operand& operand : residual) made.reads.push_back(as("residual", operand));
    for (const Operand& operand : gradient) made.writes.push_back(operand);
    made.numbers = {{"relu", relu}};
    made.pass = Pass::backward;
    add(made);
  }
  void convolution(const Operand& src, const std::string& suffix = {}, int kernel = 3) {
    const Operand dst = result("dst" + suffix);
    Node made = node(kConvolution, {as("src", src), weight()}, {as("dst", dst)});
    made.numbers = window(kernel);
    add(made);
    statistics(dst, suffix);
  }
  void statistics(const Operand& src, const std::string& suffix = {}) {
    add(node(kStatistics, {as("src", src)},
             {as("mean", sums("mean" + suffix, Dtype::f32)), as("variance", sums("variance" + suffix, Dtype::f32))}));
  }
  void data_gradient(const Operand& src_grad, const std::vector<Operand>& addend = {}) {
    Node made = node(kConvolutionDataGradient, {given("dst_grad"), weight()}, {as("src_grad", src_grad)});
    for (const Operand& operand : addend) made.reads.push_back(as("src_grad_addend", operand));
    made.numbers = window(3);
    made.pass = Pass::backward;
    add(made);
  }
  static std::map<std::string, double> window(int kernel, int stride = 1) {
    return {{"kernel", kernel}, {"stride", stride}, {"pad", kernel / 2}};
  }

  std::vector<Operand> results;

 private:
  Operand random(const Operand& operand) {
    t_.set(operand, numbers_.vector(t_.count(operand)));
    return operand;
  }
  Operand compared(const Operand& operand) {
    results.push_back(operand);
    return operand;
  }
  // Backward reads the same scale and shift as forward.
  Operand channel(const std::string& name) {
    if (channels_.count(name) == 0) channels_[name] = channels(name);
    return channels_[name];
  }

  Trial& t_;
  Numbers numbers_{21};
  Operand weight_;
  std::map<std::string, Operand> channels_;
};

struct Case {
  std::string name;
  Fusion fuse;
  std::vector<const NodeKind*> kinds;  ///< of the fused program, in its order
  std::function<void(Small& s)> build;
};

void apply_and_convolution(Small& s) {
  const Operand normalised = s.inner("normalised");
  s.apply(s.given("raw"), normalised, "", true);
  s.convolution(normalised);
}

void sum_and_convolution(Small& s) {
  const Operand sum = s.result("sum");
  s.apply(s.given("raw"), sum, "", true, {s.given("identity")});
  s.convolution(sum, "", 1);
}

// Forward: a projection and a block's last result, their sum, the next block. Backward: from the next block's
// convolution to what both batch norms reduce.
void projected_sum(Small& s) {
  const Operand left = s.given("left"), right = s.given("right"), scaled = s.inner("scaled"), sum = s.result("sum");
  s.apply(right, scaled, " right", false);
  s.apply(left, sum, " left", true, {scaled});
  s.convolution(sum, "", 1);
  const Operand gradient = s.inner("d sum"), masked = s.result("masked");
  s.data_gradient(gradient, {s.given("d shortcut")});
  s.mask(gradient, left, " left", true, {scaled}, {as("residual_grad", masked)});
  s.mask(masked, right, " right", false);
}

void data_gradient_and_mask(Small& s, bool residual) {
  const Operand gradient = s.inner("d normalised"), masked = s.result("masked");
  s.data_gradient(gradient, {s.given("other gradient")});
  if (residual)
    s.mask(gradient, s.given("raw"), "", true, {s.given("identity")}, {as("residual_grad", masked)});
  else
    s.mask(gradient, s.given("raw"), "", true, {}, {as("masked_grad", masked)});
}

const std::vector<Case> kCases = {
    {"statistics", fuse_statistics, {&kConvolutionStatistics}, [](Small& s) { s.convolution(s.given("src")); }},
    {"apply_statistics", absorb_applies, {&kApplyConvolutionStatistics}, apply_and_convolution},
    {"apply_weight_gradient",
     absorb_applies,
     {&kApplyConvolutionWeightGradient},
     [](Small& s) {
       const Operand normalised = s.inner("normalised");
       s.apply(s.given("raw"), normalised, "", true);
       Node gradient = s.node(kConvolutionWeightGradient, {as("src", normalised), s.given("dst_grad")},
                              {as("weight_grad", s.result("weight_grad", {1, 1, 1, kChannels * kChannels * 9}))});
       gradient.numbers = Small::window(3);
       s.add(gradient);
     }},
    {"both_readers_of_an_apply",
     absorb_applies,
     {&kApplyConvolutionStatistics, &kApplyConvolutionStatistics},
     [](Small& s) {
       const Operand normalised = s.inner("normalised");
       s.apply(s.given("raw"), normalised, "", true);
       s.convolution(normalised, " one");
       s.convolution(normalised, " two", 1);
     }},
    {"sum", fuse_sums, {&kSumConvolutionStatistics}, sum_and_convolution},
    {"projected_sum",
     fuse_projected_sums,
     {&kProjectedSumConvolutionStatistics, &kDataGradientProjectedSumMask},
     projected_sum},
    {"mask", fuse_masks, {&kDataGradientMask}, [](Small& s) { data_gradient_and_mask(s, false); }},
    {"sum_mask", fuse_masks, {&kDataGradientSumMask}, [](Small& s) { data_gradient_and_mask(s, true); }},
    {"apply_max_pool",
     absorb_applies,
     {&kApplyMaxPool},
     [](Small& s) {
       const Operand normalised = s.inner("normalised");
       s.apply(s.given("raw"), normalised, "", true);
       Node pool = s.node(kMaxPool, {as("src", normalised)}, {s.result("dst")});
       pool.numbers = Small::window(3);
       s.add(pool);
     }},
    {"apply_global_pool",
     absorb_applies,
     {&kApplyGlobalPool},
     [](Small& s) {
       const Operand sum = s.inner("sum");
       s.apply(s.given("raw"), sum, "", true, {s.given("identity")});
       s.add(s.node(kGlobalPool, {as("src", sum)}, {s.result("dst", {2, 1, 1, kChannels})}));
     }},
    {"global_pool_gradient_mask",
     fuse_pools,
     {&kGlobalPoolGradientMask},
     [](Small& s) {
       const Operand gradient = s.inner("d normalised");
       s.add(s.node(kGlobalPoolGradient, {as("dst_grad", s.given("d features", {2, 1, 1, kChannels}))},
                    {as("src_grad", gradient)}));
       s.mask(gradient, s.given("raw"), "", true, {}, {s.result("masked_grad")});
     }},
    {"statistics_max_pool",
     fuse_pools,
     {&kStatisticsMaxPool},
     [](Small& s) {
       const Operand raw = s.given("raw");
       s.statistics(raw);
       Node pool = s.node(kMaxPool, {as("src", raw), as("sign", s.channels("scale"))}, {s.result("dst")});
       pool.numbers = Small::window(3);
       s.add(pool);
     }},
    {"max_pool_statistics_gradient",
     fuse_pools,
     {&kMaxPool, &kMaxPoolStatisticsGradient},
     [](Small& s) {
       const Shape pooled{2, 2, 2, kChannels};
       const std::map<std::string, double> window = {{"kernel", 2}, {"stride", 2}, {"pad", 0}};
       const Operand raw = s.given("raw"), scattered = s.inner("scattered"), argmax = s.places("argmax", pooled);
       Node pool = s.node(kMaxPool, {as("src", raw)}, {as("dst", s.result("dst", pooled)), argmax});
       Node back =
           s.node(kMaxPoolGradient, {as("dst_grad", s.given("d pooled", pooled)), argmax}, {as("src_grad", scattered)});
       pool.numbers = back.numbers = window;
       s.add(pool);
       s.add(back);
       s.add(s.node(kStatisticsGradient,
                    {as("src", raw), s.channels("mean"), s.channels("k"), s.channels("l"), as("masked_grad", scattered),
                     s.channels("a")},
                    {s.result("src_grad")}));
     }},
    {"scatter",
     fuse_copies,
     {&kScatter},
     [](Small& s) {
       const Operand merged = s.given("merged", {2, 4, 4, 3 * kChannels}),
                     wide = s.result("wide", {2, 4, 4, 2 * kChannels});
       const auto range = [](const Operand& operand, int64_t number) {
         return part(operand, number * kChannels, kChannels);
       };
       s.add(s.node(kCopyChannels, {as("src", range(merged, 0))}, {as("dst", range(wide, 0))}));
       s.add(s.node(kCopyChannels, {as("src", range(merged, 1))}, {s.result("dst")}));
       Node pool = s.node(kAveragePool, {as("src", range(merged, 2))}, {as("dst", range(wide, 1))});
       pool.numbers = Small::window(3);
       s.add(pool);
       s.statistics(range(wide, 1));
     }},
    {"join", fuse_copies, {&kJoin}, [](Small& s) {
       const Operand wide = s.result("wide", {2, 4, 4, 2 * kChannels});
       for (const int64_t number : {0, 1})
         s.add(s.node(kCopyChannels, {as("src", s.given("src " + std::to_string(number)))},
                      {as("dst", part(wide, number * kChannels, kChannels))}));
     }}};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

class ConvolutionFusion : public testing::TestWithParam<Case> {};

TEST_P(ConvolutionFusion, PutsOneNodeInThePlaceAndKeepsTheBits) {
  Trial plain(kReference), fused(kReference);
  Small expected(plain), found(fused);
  GetParam().build(expected);
  GetParam().build(found);
  const FusedReference backend;
  fused.rewrite([&](Program& program) { GetParam().fuse(program, backend); });
  std::vector<const NodeKind*> kinds;
  for (const Node& node : fused.program().nodes) kinds.push_back(node.kind);
  ASSERT_EQ(kinds, GetParam().kinds);
  for (Trial* t : {&plain, &fused}) t->run();
  for (size_t i = 0; i < expected.results.size(); ++i)
    EXPECT_EQ(plain.get(expected.results[i]), fused.get(found.results[i])) << expected.results[i].role;
}

// What others read, or what must be there afterwards, keeps the nodes apart.
TEST_P(ConvolutionFusion, LeavesWhatOthersNeed) {
  Trial counted(kReference);
  Small all(counted);
  GetParam().build(all);
  for (size_t v = 0; v < counted.program().values.size(); ++v)
    for (const bool output : {false, true}) {
      if (counted.program().values[v].storage != Storage::slab) continue;
      Trial t(kReference);
      Small s(t);
      GetParam().build(s);
      const Value& inner = t.program().values[v];
      const std::string name = inner.name;
      if (!output)
        t.add({.kind = &kCopyChannels,
               .name = "other",
               .reads = {t.program().whole(static_cast<int>(v), "src")},
               .writes = {as("dst", s.result("copy", inner.shape))}});
      const FusedReference backend;
      t.rewrite([&](Program& program) {
        program.values[v].output = output;
        GetParam().fuse(program, backend);
      });
      EXPECT_GT(t.program().nodes.size(), GetParam().kinds.size() + (output ? 0 : 1)) << name << " output " << output;
      t.run();
    }
}

INSTANTIATE_TEST_SUITE_P(Fusions, ConvolutionFusion, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& c) { return c.param.name; });

// ---- Networks

const std::vector<std::string> kNetworks = {"small", "menagerie", "inception-bn-small", "inception-bn-21k",
                                            "resnet-50"};

Graph network(const std::string& name) {
  if (name == "small") return small_network();
  return name == "menagerie" ? menagerie() : small_form(name);
}

StepOptions options_of(bool recompute = false, size_t bucket_bytes = size_t{64} << 10) {
  StepOptions options = step_of(2, Dtype::f32, recompute);
  options.bucket_bytes = bucket_bytes;
  options.classifier_apart = true;
  return options;
}

Program fused_step(const Graph& graph, const StepOptions& options = options_of()) {
  FusedReference backend(false);
  Program refresh, program = training_step(graph, options, backend.algebraic());
  backend.rewrite(program, refresh);
  verify(program);
  return program;
}

int64_t count(const Program& program, const NodeKind& kind) {
  return std::count_if(program.nodes.begin(), program.nodes.end(), [&](const Node& node) { return node.is(kind); });
}

struct Figures {
  // Forward: with apply in front; with a sum; with a projected sum; statistics alone; alone.
  std::array<int64_t, 5> forward;
  // Weight gradients: with apply in front; alone.
  std::array<int64_t, 2> weight;
  // Data gradients with mask and reductions: of one batch norm; of a sum; of a projected sum; alone.
  std::array<int64_t, 4> data;
  // Passes that remain: scatter; join; apply; apply_gradient; copies of either direction.
  std::array<int64_t, 5> passes;
};

// How many convolutions run fused: one that silently stops is seen here.
TEST(ConvolutionFusions, HappenAsOftenAsTheNetworksAllow) {
  // inception-bn-21k: 69 convolutions are 44 after siblings were merged. Its stem's window is too large; 5b's
  // projection reads a max pool. resnet-50: three projections of stride 2 read a sum that is written already.
  // inception-bn-small: 21 are 14; the first reads the image.
  const std::map<std::string, Figures> expected = {
      {"inception-bn-21k", {{42, 0, 0, 1, 1}, {42, 2}, {42, 0, 0, 1}, {10, 10, 0, 0, 0}}},
      {"inception-bn-small", {{13, 0, 0, 1, 0}, {13, 1}, {13, 0, 0, 0}, {3, 3, 0, 0, 0}}},
      {"resnet-50", {{34, 11, 4, 3, 1}, {34, 19}, {33, 11, 4, 4}, {0, 0, 0, 0, 0}}}};
  for (const auto& [name, figures] : expected) {
    const Program p = fused_step(network(name));
    const auto of = [&](const NodeKind& kind) { return count(p, kind); };
    EXPECT_EQ((std::array{of(kApplyConvolutionStatistics), of(kSumConvolutionStatistics),
                          of(kProjectedSumConvolutionStatistics), of(kConvolutionStatistics), of(kConvolution)}),
              figures.forward)
        << name;
    EXPECT_EQ((std::array{of(kApplyConvolutionWeightGradient), of(kConvolutionWeightGradient)}), figures.weight)
        << name;
    EXPECT_EQ((std::array{of(kDataGradientMask), of(kDataGradientSumMask), of(kDataGradientProjectedSumMask),
                          of(kConvolutionDataGradient)}),
              figures.data)
        << name;
    EXPECT_EQ((std::array{of(kScatter), of(kJoin), of(kApply), of(kApplyGradient),
                          of(kCopyChannels) + of(kCopyChannelsGradient)}),
              figures.passes)
        << name;
  }
}

// What remains around them: pools and the ends of the network.
TEST(ConvolutionFusions, TakeTheirPoolsAlong) {
  const Program inception = fused_step(network("inception-bn-21k"));
  EXPECT_EQ(count(inception, kApplyMaxPool), 3);               // in front of 3c's, 4e's and 5b's concatenation
  EXPECT_EQ(count(inception, kStatisticsMaxPool), 1);          // conv1; conv2 has its statistics behind it
  EXPECT_EQ(count(inception, kMaxPoolStatisticsGradient), 2);  // pool1, pool2
  EXPECT_EQ(count(inception, kAveragePool), 0);                // in scatters
  for (const char* name : {"inception-bn-21k", "resnet-50"}) {
    const Program program = fused_step(network(name));
    EXPECT_EQ(count(program, kApplyGlobalPool), 1) << name;
    EXPECT_EQ(count(program, kGlobalPoolGradientMask), 1) << name;
  }
}

TEST(ConvolutionFusions, AFusedNodeNamesWhatItsBodyReadsAndWrites) {
  for (const std::string& name : kNetworks) {
    const Program program = fused_step(network(name));
    const auto covers = [](const std::vector<Operand>& list, const Operand& operand) {
      return std::any_of(list.begin(), list.end(), [&](const Operand& other) { return overlap(other, operand); });
    };
    for (const Node& node : program.nodes)
      for (const Node& inner : node.body) {
        for (const Operand& read : inner.reads) {
          const bool inside = std::any_of(node.body.begin(), node.body.end(),
                                          [&](const Node& other) { return covers(other.writes, read); });
          EXPECT_NE(inside, covers(node.reads, read)) << node.kind->name << " " << node.name << " " << read.role;
        }
        for (const Operand& result : inner.writes) {
          if (covers(node.writes, result)) continue;
          EXPECT_TRUE(readers_of(program, result).empty()) << node.kind->name << " " << node.name << " " << result.role;
        }
      }
  }
}

// Whatever a backend refuses stays as it was; everything else is fused all the same.
TEST(ConvolutionFusions, AskWhetherTheBackendSupportsTheResult) {
  class Without : public FusedReference {
   public:
    explicit Without(const NodeKind& kind) : FusedReference(false), kind_(kind) {}
    bool supported(const Program& program, const Node& node) const override {
      return !node.is(kind_) && FusedReference::supported(program, node);
    }

   private:
    const NodeKind& kind_;
  };
  for (const std::string& name : kNetworks)
    for (const NodeKind* kind : kFusedKinds) {
      Without backend(*kind);
      Program refresh, program = training_step(network(name), options_of(), backend.algebraic());
      backend.rewrite(program, refresh);
      EXPECT_NO_THROW(verify(program)) << name << " " << kind->name;
      EXPECT_EQ(count(program, *kind), 0) << name << " " << kind->name;
      EXPECT_GT(std::count_if(program.nodes.begin(), program.nodes.end(),
                              [](const Node& node) { return !node.body.empty(); }),
                0);
    }
}

TEST(ConvolutionFusions, AreFreeOfRacesAndNeedLessMemory) {
  // Of the plain program's bytes.
  const std::map<std::string, double> shares = {
      {"inception-bn-21k", 0.62}, {"inception-bn-small", 0.59}, {"resnet-50", 0.84}};
  for (const std::string& name : kNetworks)
    for (const bool recompute : {false, true}) {
      FusedReference backend(false);
      const auto plain_backend = make_backend("reference", {});
      Program refresh;
      const StepOptions options = options_of(recompute);
      const CompiledProgram fused =
          compile(training_step(network(name), options, backend.algebraic()), backend, refresh);
      const CompiledProgram plain = compile(training_step(network(name), options, {}), *plain_backend, refresh);
      EXPECT_LT(fused.plan.bytes, plain.plan.bytes) << name << " recompute " << recompute;
      if (const auto share = shares.find(name); share != shares.end() && !recompute) {
        const auto bytes = [](const CompiledProgram& c) { return static_cast<double>(c.plan.bytes); };
        EXPECT_NEAR(bytes(fused) / bytes(plain), share->second, 0.01) << name;
      }
      EXPECT_EQ(races(fused.program, fused.plan, fused.edges), std::vector<std::string>{}) << name;
      const Program two = twice(fused.program);
      EXPECT_EQ(races(two, twice(fused.plan, fused.program), edges_of(two)), std::vector<std::string>{}) << name;
    }
}

// In the fused program too, a sum stands directly behind the last node that touches what it sums.
TEST(ConvolutionFusions, SumsAreNeitherEarlyNorLate) {
  for (const std::string& name : kNetworks) {
    const Program program = fused_step(network(name));
    const auto touches = [](const Node& node, const Operand& operand) {
      const auto same = [&](const Operand& other) { return overlap(other, operand); };
      return std::any_of(node.reads.begin(), node.reads.end(), same) ||
             std::any_of(node.writes.begin(), node.writes.end(), same);
    };
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      if (!program.nodes[n].is(kSum)) continue;
      const Operand src = program.nodes[n].at("src");
      for (size_t later = n + 1; later < program.nodes.size(); ++later)
        EXPECT_FALSE(touches(program.nodes[later], src)) << name << " " << program.nodes[later].name;
      size_t before = n;
      while (program.nodes[before].is(kSum)) --before;
      EXPECT_TRUE(touches(program.nodes[before], src)) << name << " " << program.nodes[n].name << " starts late";
    }
  }
}

// The classifier's gradients are on their way before the first convolution's data gradient.
TEST(ConvolutionFusions, TheClassifiersSumBeginsWhenBackwardDoes) {
  for (const std::string& name : kNetworks) {
    const Graph graph = network(name);
    const Program program = fused_step(graph);
    const auto sum = std::find_if(program.nodes.begin(), program.nodes.end(), [&](const Node& n) {
      return n.is(kSum) && program.value(n.at("src")).state == kGradients;
    });
    ASSERT_NE(sum, program.nodes.end());
    const Parameter& weight = graph.parameters[graph.parameters.size() - 2];
    EXPECT_EQ(sum->at("src").first, static_cast<int64_t>(weight.offset)) << name;
    EXPECT_EQ(sum->at("src").count, static_cast<int64_t>(graph.parameter_count - weight.offset)) << name;
    for (auto node = program.nodes.begin(); node != sum; ++node) {
      const bool classifier = node->pass == Pass::forward || node->is(kLossGradient) || node->is(kBiasGradient) ||
                              node->is(kFullyConnectedWeightGradient) || node->is(kSum);
      EXPECT_TRUE(classifier) << name << " " << node->kind->name;
    }
  }
}

}  // namespace
}  // namespace packhorse

// The real cuDNN, without a GPU: each convolution of the networks has a plan on the GPUs that we know, and the tables
// in this folder say what the library says.
#include <cudnn.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda_plans/plan_lines.h"
#include "cuda_plans/spec_text.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {
namespace {

const std::string kFolder = PACKHORSE_ROOT "/tests/cuda_plans/";

std::string device(const std::string& name) { return text_of_file(kFolder + name + ".json"); }

std::vector<ConvolutionSpec> network(const std::string& name) {
  std::istringstream text(text_of_file(kFolder + "networks/" + name + ".txt"));
  return specs_of(text);
}

std::vector<std::string> lines_of(const std::string& file) {
  std::istringstream text(text_of_file(kFolder + file));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// Tables are of one version of the library; another one may order its engines in another way.
bool is_of_this_version(const std::vector<std::string>& table) {
  return table.at(0) == "# cuDNN " + std::to_string(cudnnGetVersion());
}

class Networks : public testing::TestWithParam<std::string> {};

TEST_P(Networks, EachConvolutionHasThePlanOfTheTable) {
  const std::vector<std::string> table = lines_of("h200_plans.txt");
  const std::string h200 = device("h200");
  for (const ConvolutionSpec& spec : network(GetParam())) {
    const std::string line = plan_line(spec, h200);
    EXPECT_EQ(line.find("refused"), std::string::npos) << line;
    EXPECT_TRUE(!is_of_this_version(table) || std::count(table.begin(), table.end(), line) == 1) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(F16, Networks, testing::Values("resnet-50", "inception-bn-21k"), [](const auto& name) {
  std::string plain = name.param;
  std::replace(plain.begin(), plain.end(), '-', '_');
  return plain;
});

// What the small network asks for, the stand-in has from the library, to the byte of the workspace.
TEST(Signatures, OfTheSmallNetworkAreTheStandInsTable) {
  const std::vector<std::string> table = lines_of("signatures.txt");
  const std::string h200 = device("h200");
  for (const ConvolutionSpec& spec : network("inception-bn-small")) {
    const std::string line = signature_line(spec, h200);
    ASSERT_FALSE(line.empty()) << spec.text();
    EXPECT_TRUE(!is_of_this_version(table) || std::count(table.begin(), table.end(), line) == 1) << line;
  }
}

TEST(Devices, OthersHavePlansToo) {
  for (const std::string name : {"h100", "a100"})
    for (const std::string text :
         {"forward f16 n64 h28 w28 c64 o128 k3 s1 p1 apply statistics", "forward bf16 n64 h28 w28 c64 o128 k3 s1 p1",
          "data_gradient f16 n64 h28 w28 c64 o128 k3 s2 p1 apply_mask",
          "weight_gradient f16 n64 h28 w28 c64 o128 k3 s1 p1 apply",
          "weight_gradient f32 n64 h1 w1 c64 o128 k1 s1 p0"}) {
      const std::string line = plan_line(spec_of(text), device(name));
      EXPECT_EQ(line.find("refused"), std::string::npos) << name << ": " << line;
    }
}

TEST(Refusals, GiveAReasonAndNoCandidates) {
  for (const std::string text :
       {"forward bf16 n64 h28 w28 c64 o128 k3 s1 p1 statistics", "forward f16 n64 h28 w28 c60 o128 k3 s1 p1 statistics",
        "forward f16 n64 h28 w28 c64 o128 k3 s1 p1 apply", "forward f16 n64 h28 w28 c64 o128 k3 s1 p1 sum statistics",
        "data_gradient f16 n64 h28 w28 c64 o128 k3 s2 p1 addend apply_mask"}) {
    const ConvolutionPlans plans(spec_of(text), device("h200"));
    EXPECT_TRUE(plans.candidates().empty()) << text;
    EXPECT_FALSE(plans.refusal().empty()) << text;
  }
  const ConvolutionPlans plans(spec_of("forward f16 n64 h28 w28 c64 o128 k3 s1 p1"), std::string("no JSON"));
  EXPECT_TRUE(plans.candidates().empty());
  EXPECT_FALSE(plans.refusal().empty());
}

TEST(Candidates, AreFoundByTheirEnginesAndChosenByOptions) {
  const ConvolutionSpec spec = spec_of("weight_gradient f16 n64 h28 w28 c64 o128 k3 s1 p1");
  const std::string h200 = device("h200");
  ConvolutionPlans all(spec, h200);
  const ConvolutionPlans again(spec, h200), fixed(spec, h200, {.deterministic = true}),
      small(spec, h200, {.workspace_limit = 0});
  std::set<std::string> engines;
  for (size_t i = 0; i < all.candidates().size(); ++i) {
    const PlanCandidate& candidate = all.candidates()[i];
    EXPECT_TRUE(engines.insert(candidate.engine).second) << candidate.engine;
    EXPECT_EQ(again.find(candidate.engine), static_cast<int>(i));
    // What the library said before is what the plan then needs.
    const int64_t workspace = candidate.workspace;
    EXPECT_TRUE(all.build(i)) << candidate.refusal;
    EXPECT_EQ(candidate.workspace, workspace) << candidate.engine;
    EXPECT_EQ(fixed.find(candidate.engine) >= 0, candidate.deterministic) << candidate.engine;
    EXPECT_EQ(small.find(candidate.engine) >= 0, candidate.workspace == 0) << candidate.engine;
  }
  EXPECT_GT(all.candidates().size(), fixed.candidates().size());
  EXPECT_GT(all.candidates().size(), small.candidates().size());
}

// Plain f32 is not rounded by tensor cores: fewer engines are left.
TEST(Candidates, OfF32AreSomeOfTf32) {
  const std::string h200 = device("h200");
  const ConvolutionPlans f32(spec_of("forward f32 n64 h28 w28 c64 o128 k3 s1 p1"), h200),
      tf32(spec_of("forward tf32 n64 h28 w28 c64 o128 k3 s1 p1"), h200);
  EXPECT_FALSE(f32.candidates().empty());
  EXPECT_LT(f32.candidates().size(), tf32.candidates().size());
  for (const PlanCandidate& candidate : f32.candidates()) EXPECT_GE(tf32.find(candidate.engine), 0) << candidate.engine;
}

TEST(Specs, PrintAndCompare) {
  for (const std::string name : {"resnet-50", "inception-bn-21k", "inception-bn-small"})
    for (const ConvolutionSpec& spec : network(name)) EXPECT_EQ(spec_of(spec.text()), spec) << spec.text();
  EXPECT_NE(spec_of("forward f32 n1 h1 w1 c8 o8"), spec_of("forward tf32 n1 h1 w1 c8 o8"));
  EXPECT_EQ(std::hash<ConvolutionSpec>()(spec_of("forward f16 n1 h1 w1 c8 o8")),
            std::hash<ConvolutionSpec>()(spec_of("forward f16 n1 h1 w1 c8 o8")));
}

}  // namespace
}  // namespace packhorse

// Convolutions through the stand-in for cuDNN: the numbers of each pass, type and fusion, and what must be refused.
//
// The operands are small integers and powers of two, so that every sum is exact: results are the definition's, to the
// last bit.
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "cuda_plans/convolution_reference.h"
#include "cuda_plans/spec_text.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {
namespace {

class DeviceArray {
 public:
  explicit DeviceArray(size_t bytes) : bytes_(bytes) { EXPECT_EQ(cudaMalloc(&data_, bytes), cudaSuccess); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }
  void* data() const { return data_; }
  void write(const std::vector<uint8_t>& bytes) {
    ASSERT_EQ(cudaMemcpy(data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), cudaSuccess);
  }
  std::vector<uint8_t> read() const {
    std::vector<uint8_t> bytes(bytes_);
    EXPECT_EQ(cudaMemcpy(bytes.data(), data_, bytes_, cudaMemcpyDeviceToHost), cudaSuccess);
    return bytes;
  }

 private:
  size_t bytes_;
  void* data_ = nullptr;
};

template <typename T>
void append(std::vector<uint8_t>& bytes, T number) {
  bytes.resize(bytes.size() + sizeof number);
  std::memcpy(bytes.data() + bytes.size() - sizeof number, &number, sizeof number);
}
std::vector<uint8_t> bytes_of(const Numbers& numbers, Dtype dtype) {
  std::vector<uint8_t> bytes;
  for (const double number : numbers) {
    const auto single = static_cast<float>(number);
    if (dtype == Dtype::f16)
      append(bytes, F16(single).bits);
    else if (dtype == Dtype::bf16)
      append(bytes, Bf16(single).bits);
    else
      append(bytes, single);
  }
  return bytes;
}
Numbers numbers_of(const std::vector<uint8_t>& bytes, Dtype dtype) {
  Numbers numbers;
  for (size_t i = 0; i < bytes.size(); i += size_of(dtype)) {
    float single = 0;
    uint16_t bits = 0;
    std::memcpy(dtype == Dtype::f32 ? static_cast<void*>(&single) : &bits, &bytes[i], size_of(dtype));
    if (dtype == Dtype::f16) single = static_cast<float>(std::bit_cast<F16>(bits));
    if (dtype == Dtype::bf16) single = static_cast<float>(std::bit_cast<Bf16>(bits));
    numbers.push_back(static_cast<double>(single));
  }
  return numbers;
}

// Operands of a convolution: few different numbers, most weights 0.
PortNumbers operands_of(const ConvolutionSpec& spec, unsigned seed) {
  std::mt19937 random(seed);
  const auto one_of = [&](const std::vector<double>& choices) {
    return choices[std::uniform_int_distribution<size_t>(0, choices.size() - 1)(random)];
  };
  PortNumbers numbers;
  for (const PortUse& use : ports_of(spec)) {
    if (!use.read) continue;
    Numbers& values = numbers[use.port];
    for (int64_t i = 0; i < use.shape.count(); ++i) switch (use.port) {
        case Port::zeros:
        case Port::residual_zeros:
          values.push_back(0);
          break;
        case Port::ones:
        case Port::residual_ones:
          values.push_back(1);
          break;
        case Port::weight:
          values.push_back(one_of({-1, 0, 0, 0, 0, 0, 1, 2}));
          break;
        case Port::a:
        case Port::residual_a:
          values.push_back(one_of({-1, 0, 0.5, 1, 2}));
          break;
        default:
          values.push_back(one_of({-2, -1, 0, 0, 1, 2}));
      }
  }
  return numbers;
}

// A convolution's tensors on the device.
class Placed {
 public:
  explicit Placed(const ConvolutionSpec& spec) : uses_(ports_of(spec)) {
    for (const PortUse& use : uses_) {
      auto& array = arrays_[use.port];
      array = std::make_unique<DeviceArray>(static_cast<size_t>(use.shape.count()) * size_of(use.dtype));
      pointers[use.port] = array->data();
    }
  }
  void write(const PortNumbers& numbers) {
    for (const PortUse& use : uses_)
      if (use.read) arrays_.at(use.port)->write(bytes_of(numbers.at(use.port), use.dtype));
  }
  Numbers read(Port port) const {
    for (const PortUse& use : uses_)
      if (use.port == port) return numbers_of(arrays_.at(port)->read(), use.dtype);
    return {};
  }
  void expect(const PortNumbers& numbers, const std::string& what) const {
    for (const PortUse& use : uses_)
      if (use.written) {
        EXPECT_EQ(read(use.port), numbers.at(use.port)) << name_of(use.port) << " of " << what;
      }
  }

  PortPointers pointers;

 private:
  std::vector<PortUse> uses_;
  std::map<Port, std::unique_ptr<DeviceArray>> arrays_;
};

class Standin : public testing::Test {
 protected:
  Standin() {
    EXPECT_EQ(cudnnCreate(&handle_), CUDNN_STATUS_SUCCESS);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudnnSetStream(handle_, stream_), CUDNN_STATUS_SUCCESS);
  }
  ~Standin() override {
    cudnnDestroy(handle_);
    cudaStreamDestroy(stream_);
  }

  // Every candidate gives the definition's numbers.
  void expect_numbers(const std::string& text) {
    const ConvolutionSpec spec = spec_of(text);
    ASSERT_EQ(spec.text(), text);
    ConvolutionPlans plans(spec, handle_);
    ASSERT_FALSE(plans.candidates().empty()) << text << ": " << plans.refusal();
    const PortNumbers operands = operands_of(spec, 1);
    const ConvolutionReference reference(spec, operands);
    for (size_t i = 0; i < plans.candidates().size(); ++i) {
      ASSERT_TRUE(plans.build(i)) << plans.candidates()[i].refusal;
      const auto workspace = std::make_unique<DeviceArray>(static_cast<size_t>(plans.candidates()[i].workspace + 1));
      Placed placed(spec);
      placed.write(operands);
      plans.execute(handle_, i, placed.pointers, plans.candidates()[i].workspace > 0 ? workspace->data() : nullptr);
      ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
      placed.expect(reference.numbers(), text + " by " + plans.candidates()[i].engine);
    }
  }

  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

const char* const kPasses[] = {"forward", "data_gradient", "weight_gradient"};
const char* const kTypes[] = {"f16", "bf16", "f32", "tf32"};

// NOLINTBEGIN(performance-inefficient-string-concatenation): a test's words, a few times
TEST_F(Standin, PlainConvolutionsOfEachPassAndType) {
  for (const std::string pass : kPasses)
    for (const std::string type : kTypes)
      for (const std::string sizes :
           {"n2 h7 w5 c16 o24 k3 s1 p1", "n3 h8 w7 c24 o8 k3 s2 p1", "n2 h5 w6 c8 o40 k1 s1 p0",
            "n1 h9 w8 c16 o16 k1 s2 p0", "n2 h15 w16 c4 o8 k7 s2 p3", "n2 h6 w7 c9 o12 k3 s1 p1",
            "n3 h5 w5 c3 o5 k1 s1 p0"})
        expect_numbers(pass + " " + type + " " + sizes);
}

TEST_F(Standin, FullyConnected) {
  for (const std::string pass : kPasses)
    for (const std::string type : kTypes) {
      expect_numbers(pass + " " + type + " n6 h1 w1 c16 o24 k1 s1 p0");
      expect_numbers(pass + " " + type + " n5 h1 w1 c32 o13 k1 s1 p0");
      expect_numbers(pass + " " + type + " n1 h1 w1 c8 o8 k1 s1 p0");
    }
}

TEST_F(Standin, DataGradientsThatAreAddedTo) {
  for (const std::string type : kTypes)
    for (const std::string sizes :
         {"n2 h7 w5 c16 o24 k3 s1 p1", "n2 h9 w8 c16 o16 k3 s2 p1", "n2 h5 w6 c8 o40 k1 s1 p0"})
      expect_numbers("data_gradient " + type + " " + sizes + " addend");
}

const char* const kFusedSizes[] = {"n2 h7 w5 c16 o24 k3 s1 p1", "n2 h9 w8 c24 o16 k3 s2 p1",
                                   "n3 h6 w5 c16 o40 k1 s1 p0", "n2 h7 w8 c8 o16 k1 s2 p0"};

TEST_F(Standin, Statistics) {
  for (const std::string sizes : kFusedSizes) expect_numbers("forward f16 " + sizes + " statistics");
}

TEST_F(Standin, AppliesOnTheWayIn) {
  for (const std::string sizes : kFusedSizes) {
    expect_numbers("forward f16 " + sizes + " apply statistics");
    expect_numbers("weight_gradient f16 " + sizes + " apply");
  }
}

TEST_F(Standin, SumsOnTheWayIn) {
  for (const std::string apply : {"sum", "projected_sum"})
    expect_numbers("forward f16 n3 h6 w5 c16 o40 k1 s1 p0 " + apply + " statistics");
}

TEST_F(Standin, MasksAndReductions) {
  for (const std::string sizes : kFusedSizes) expect_numbers("data_gradient f16 " + sizes + " apply_mask");
  for (const std::string sizes : {kFusedSizes[0], kFusedSizes[2]})
    for (const std::string fused :
         {"addend apply_mask", "sum_mask", "addend sum_mask", "projected_sum_mask", "addend projected_sum_mask"})
      expect_numbers("data_gradient f16 " + sizes + " " + fused);
}

// NOLINTEND(performance-inefficient-string-concatenation)

// Numbers that are not exact: sums in f32, one rounding of the result.
TEST_F(Standin, RoundsAsTheTypesSay) {
  for (const std::string type : kTypes) {
    const ConvolutionSpec spec = spec_of("forward " + type + " n2 h6 w6 c32 o16 k3 s1 p1");
    PortNumbers operands = operands_of(spec, 2), magnitudes;
    std::mt19937 random(3);
    for (auto& [port, numbers] : operands)
      for (double& number : numbers) {
        number = rounded(std::normal_distribution<double>()(random), spec.dtype);
        magnitudes[port].push_back(std::fabs(number));
      }
    const PortNumbers exact = ConvolutionReference(spec, operands).numbers(),
                      sizes = ConvolutionReference(spec, magnitudes).numbers();
    ConvolutionPlans plans(spec, handle_, {.workspace_limit = 0});
    ASSERT_FALSE(plans.candidates().empty());
    for (size_t i = 0; i < plans.candidates().size(); ++i) {
      ASSERT_TRUE(plans.build(i));
      Placed placed(spec);
      placed.write(operands);
      plans.execute(handle_, i, placed.pointers, nullptr);
      ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
      const double result_bit = type == "f16" ? 0x1p-11 : type == "bf16" ? 0x1p-8 : 0x1p-24;
      const double terms = 9 * 32, product_bits = type == "tf32" ? 0x1p-10 : 0;
      const Numbers dst = placed.read(Port::dst);
      for (size_t j = 0; j < dst.size(); ++j) {
        const double size = sizes.at(Port::dst)[j];
        EXPECT_NEAR(dst[j], exact.at(Port::dst)[j],
                    (terms * 0x1p-24 + product_bits) * size + 2 * result_bit * std::fabs(dst[j]))
            << type << " " << j;
      }
    }
  }
}

// 2048 + 1 is no f16.
TEST_F(Standin, StatisticsAreThoseOfTheRoundedResult) {
  const ConvolutionSpec spec = spec_of("forward f16 n1 h2 w2 c8 o8 k1 s1 p0 statistics");
  ConvolutionPlans plans(spec, handle_);
  ASSERT_TRUE(plans.build(0));
  Placed placed(spec);
  Numbers src;
  for (int pixel = 0; pixel < 4; ++pixel) src.insert(src.end(), {2048, 1, 0, 0, 0, 0, 0, 0});
  placed.write({{Port::src, src}, {Port::weight, Numbers(64, 1)}});
  const DeviceArray workspace(static_cast<size_t>(plans.candidates()[0].workspace + 1));
  plans.execute(handle_, 0, placed.pointers, workspace.data());
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(placed.read(Port::dst), Numbers(32, 2048));
  EXPECT_EQ(placed.read(Port::sum_of_values), Numbers(8, 4 * 2048));
  EXPECT_EQ(placed.read(Port::sum_of_squares), Numbers(8, 4 * 2048.0 * 2048));
}

TEST_F(Standin, OnlyTf32RoundsOperands) {
  const double fine = 1 + 0x1p-12;
  for (const std::string type : {"f32", "tf32"}) {
    const ConvolutionSpec spec = spec_of("forward " + type + " n1 h1 w1 c8 o8 k1 s1 p0");
    ConvolutionPlans plans(spec, handle_);
    Placed placed(spec);
    placed.write({{Port::src, Numbers(8, fine)}, {Port::weight, Numbers(64, 1)}});
    int exact = 0, rounding = 0;
    for (size_t i = 0; i < plans.candidates().size(); ++i) {
      ASSERT_TRUE(plans.build(i));
      const DeviceArray workspace(static_cast<size_t>(plans.candidates()[i].workspace + 1));
      plans.execute(handle_, i, placed.pointers, workspace.data());
      ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
      const Numbers dst = placed.read(Port::dst);
      ASSERT_TRUE(dst == Numbers(8, 8) || dst == Numbers(8, 8 * fine));
      ++(dst == Numbers(8, 8) ? rounding : exact);
    }
    EXPECT_GT(exact, 0);
    EXPECT_EQ(rounding > 0, type == "tf32");
  }
}

TEST_F(Standin, RefusesWhatTheLibraryHasNoPlanFor) {
  for (const std::string text :
       {"forward bf16 n2 h7 w5 c16 o24 k3 s1 p1 statistics", "forward f32 n2 h7 w5 c16 o24 k3 s1 p1 statistics",
        "forward f16 n2 h7 w5 c12 o24 k3 s1 p1 statistics", "forward f16 n2 h7 w5 c16 o24 k3 s1 p1 apply",
        "forward f16 n2 h7 w5 c16 o24 k3 s1 p1 sum statistics", "forward f16 n2 h15 w15 c4 o8 k7 s2 p3 statistics",
        "weight_gradient bf16 n2 h7 w5 c16 o24 k3 s1 p1 apply",
        "data_gradient f16 n2 h7 w5 c16 o24 k3 s2 p1 addend apply_mask"}) {
    const ConvolutionPlans plans(spec_of(text), handle_);
    EXPECT_TRUE(plans.candidates().empty()) << text;
    EXPECT_FALSE(plans.refusal().empty()) << text;
  }
}

TEST_F(Standin, ACandidateIsFoundByItsEngine) {
  const ConvolutionSpec spec = spec_of("weight_gradient f16 n2 h7 w5 c16 o24 k3 s1 p1");
  const ConvolutionPlans plans(spec, handle_), again(spec, handle_);
  ASSERT_GT(plans.candidates().size(), 1u);
  for (size_t i = 0; i < plans.candidates().size(); ++i)
    EXPECT_EQ(again.find(plans.candidates()[i].engine), static_cast<int>(i));
  EXPECT_EQ(again.find("eng0_k1=1"), -1);
}

TEST_F(Standin, PlansForADeviceThatIsNotThereAreTheSame) {
  const ConvolutionSpec spec = spec_of("data_gradient f16 n2 h7 w5 c16 o24 k3 s1 p1 apply_mask");
  const ConvolutionPlans here(spec, handle_);
  ConvolutionPlans elsewhere(spec, std::string(R"({"deviceVer": 900})"));
  ASSERT_EQ(elsewhere.candidates().size(), here.candidates().size());
  for (size_t i = 0; i < here.candidates().size(); ++i) {
    EXPECT_EQ(elsewhere.candidates()[i].engine, here.candidates()[i].engine);
    EXPECT_TRUE(elsewhere.build(i));
  }
}

TEST_F(Standin, OptionsChooseAmongCandidates) {
  const ConvolutionSpec spec = spec_of("weight_gradient f16 n2 h7 w5 c16 o24 k3 s1 p1");
  const ConvolutionPlans all(spec, handle_), same_each_time(spec, handle_, {.deterministic = true}),
      small(spec, handle_, {.workspace_limit = 0});
  EXPECT_LT(same_each_time.candidates().size(), all.candidates().size());
  for (const PlanCandidate& candidate : same_each_time.candidates()) EXPECT_TRUE(candidate.deterministic);
  EXPECT_LT(small.candidates().size(), all.candidates().size());
  for (const PlanCandidate& candidate : small.candidates()) EXPECT_EQ(candidate.workspace, 0);
}

TEST_F(Standin, MisuseIsAnError) {
  const ConvolutionSpec spec = spec_of("forward f16 n3 h6 w5 c16 o40 k1 s1 p0 statistics");
  ConvolutionPlans plans(spec, handle_);
  ASSERT_FALSE(plans.candidates().empty());
  Placed placed(spec);
  const DeviceArray workspace(static_cast<size_t>(plans.candidates()[0].workspace));
  EXPECT_THROW(plans.execute(handle_, 0, placed.pointers, workspace.data()), Error);  // not built
  EXPECT_THROW(plans.build(plans.candidates().size()), Error);
  ASSERT_TRUE(plans.build(0));
  ASSERT_GT(plans.candidates()[0].workspace, 0);
  EXPECT_THROW(plans.execute(handle_, 0, placed.pointers, nullptr), Error);
  EXPECT_THROW(plans.execute(handle_, 0, placed.pointers, static_cast<char*>(workspace.data()) + 16), Error);
  PortPointers pointers = placed.pointers;
  pointers[Port::src] = static_cast<char*>(pointers[Port::src]) + 2;
  EXPECT_THROW(plans.execute(handle_, 0, pointers, workspace.data()), Error);
  pointers[Port::src] = nullptr;
  EXPECT_THROW(plans.execute(handle_, 0, pointers, workspace.data()), Error);
  for (const std::string text : {"forward f16 n0 h1 w1 c1 o1", "forward f16 n1 h2 w2 c8 o8 k3 s1 p0",
                                 "data_gradient f16 n1 h2 w2 c8 o8 statistics", "forward f16 n1 h2 w2 c8 o8 addend",
                                 "weight_gradient f16 n1 h2 w2 c8 o8 sum", "data_gradient f16 n1 h2 w2 c8 o8 apply"})
    EXPECT_THROW(ConvolutionPlans(spec_of(text), handle_), Error) << text;
}

TEST_F(Standin, AWorkspaceThatIsTooSmallEndsTheProcess) {
  const ConvolutionSpec spec = spec_of("forward f16 n3 h6 w5 c16 o40 k1 s1 p0 statistics");
  ConvolutionPlans plans(spec, handle_);
  ASSERT_TRUE(plans.build(0));
  Placed placed(spec);
  const DeviceArray workspace(static_cast<size_t>(plans.candidates()[0].workspace - 1));
  EXPECT_DEATH(plans.execute(handle_, 0, placed.pointers, workspace.data()), "workspace is smaller");
}

TEST_F(Standin, AResultOverAnOperandEndsTheProcess) {
  const ConvolutionSpec spec = spec_of("forward f16 n3 h6 w5 c16 o16 k1 s1 p0");
  ConvolutionPlans plans(spec, handle_, {.workspace_limit = 0});
  ASSERT_TRUE(plans.build(0));
  Placed placed(spec);
  placed.pointers[Port::dst] = placed.pointers[Port::src];
  EXPECT_DEATH(plans.execute(handle_, 0, placed.pointers, nullptr), "overlaps");
}

// A workspace has no contents to rely on.
TEST_F(Standin, TheWorkspaceIsSpoilt) {
  const ConvolutionSpec spec = spec_of("forward f16 n3 h6 w5 c16 o40 k1 s1 p0 statistics");
  ConvolutionPlans plans(spec, handle_);
  ASSERT_TRUE(plans.build(0));
  Placed placed(spec);
  placed.write(operands_of(spec, 1));
  DeviceArray workspace(static_cast<size_t>(plans.candidates()[0].workspace));
  workspace.write(std::vector<uint8_t>(static_cast<size_t>(plans.candidates()[0].workspace), 7));
  plans.execute(handle_, 0, placed.pointers, workspace.data());
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(workspace.read(), std::vector<uint8_t>(static_cast<size_t>(plans.candidates()[0].workspace), 0xff));
}

// A graph's launch reads what is there then; a plan's first use in a capture would load kernels.
TEST_F(Standin, IsCapturedOnceItHasRun) {
  const ConvolutionSpec spec = spec_of("data_gradient f16 n2 h7 w5 c16 o24 k3 s1 p1 apply_mask");
  ConvolutionPlans plans(spec, handle_);
  ASSERT_TRUE(plans.build(0));
  Placed placed(spec);
  const DeviceArray workspace(static_cast<size_t>(plans.candidates()[0].workspace + 1));
  const auto execute = [&] { plans.execute(handle_, 0, placed.pointers, workspace.data()); };
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_THROW(execute(), Error);
  EXPECT_NE(cudaStreamEndCapture(stream_, &graph), cudaSuccess);

  placed.write(operands_of(spec, 1));
  execute();
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  execute();
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t launchable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&launchable, graph, 0), cudaSuccess);
  for (const unsigned seed : {2u, 3u}) {
    const PortNumbers operands = operands_of(spec, seed);
    placed.write(operands);
    ASSERT_EQ(cudaGraphLaunch(launchable, stream_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    placed.expect(ConvolutionReference(spec, operands).numbers(), "a launch");
  }
  cudaGraphExecDestroy(launchable);
  cudaGraphDestroy(graph);
}

}  // namespace
}  // namespace packhorse

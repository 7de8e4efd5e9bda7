// Whole networks: each backend against the reference, with merged and separate siblings, and what a step guarantees.
//
// Tolerances come from the sensitivity of the network: how much the result of the reference changes if each weight
// changes by one rounding of the dtype. A backend that rounds differently may differ by a few times as much.
//
// Most tests look at a step whose learning rate is 0: it leaves the weights as they are.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "device/host.h"
#include "ops/executor.h"
#include "ops/lengths.h"
#include "ops/machine.h"
#include "ops/networks.h"
#include "ops/trial.h"
#include "ops/wrapped_backend.h"

namespace packhorse {
namespace {

constexpr float kScale = 1.0f / 64;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Batch {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
};

Batch made_up_batch(const Graph& graph, int64_t count, uint64_t seed) {
  RandomStream random(seed, RandomUse::test, 0, 0);
  Batch batch;
  batch.pixels.resize(static_cast<size_t>(count * graph.image_size * graph.image_size * 3));
  for (uint8_t& pixel : batch.pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int64_t i = 0; i < count; ++i)
    batch.labels.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(graph.classes))));
  return batch;
}

// The weights and statistics that every test starts from, moved by `wiggle`.
void fill_parameters(const Graph& graph, std::span<float> weights, std::span<float> statistics, double wiggle = 0) {
  constexpr uint64_t kSeed = 3;
  initialise(graph, kSeed, weights.data(), statistics.data());
  RandomStream random(kSeed, RandomUse::test, 1, 0);
  for (const Parameter& parameter : graph.parameters)  // different scales, shifts and biases
    if (parameter.shape.size() == 1)
      for (size_t i = 0; i < parameter.count; ++i) weights[parameter.offset + i] += random.uniform(-0.3f, 0.3f);
  for (float& weight : weights) weight = static_cast<float>(weight * (1 + wiggle * (random.below(2) == 0 ? -1 : 1)));
}

std::unique_ptr<Executor> made(const Graph& graph, ExecutorOptions options, double wiggle = 0,
                               const SumsOn& sums = nullptr, const std::vector<Graph>& also_infer = {}) {
  std::fill(std::begin(options.scale), std::end(options.scale), kScale);
  auto executor = std::make_unique<Executor>(graph, options, sums, also_infer);
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  fill_parameters(graph, weights, statistics, wiggle);
  executor->write("weights", weights);
  executor->write("statistics", statistics);
  return executor;
}

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }
std::vector<float> copy_of(const HostView& values) { return copy_of(values.span()); }
std::vector<float> state_of(Executor& executor, const std::string& name) { return copy_of(executor.state(name)); }

// Also of numbers that are none, which are not equal to themselves.
bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

StepInput call_of(const Batch& batch, float gradient_scale, double learning_rate = 0) {
  return {
      .pixels = batch.pixels, .labels = batch.labels, .gradient_scale = gradient_scale, .learning_rate = learning_rate};
}

// Copies of what a step computed before its update.
struct Outcome {
  StepReport report;
  std::vector<float> gradients, batch_statistics, features;
  Dtype dtype = Dtype::f32;
};
Outcome outcome(Executor& executor, const Batch& batch) {
  Outcome o;
  o.dtype = executor.dtype();
  o.report = executor.step(call_of(batch, 0.5f));
  o.gradients = state_of(executor, "gradients");
  if (const std::vector<float> scale = state_of(executor, "loss_scale"); !scale.empty())
    for (float& gradient : o.gradients) gradient /= scale[kLossScaleFactor];
  o.batch_statistics = state_of(executor, "batch_statistics");
  o.features = copy_of(executor.features());
  return o;
}
void expect_same_bits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.report.loss_sum, b.report.loss_sum);
  EXPECT_EQ(a.report.squares, b.report.squares);
  EXPECT_EQ(a.gradients, b.gradients);
  EXPECT_EQ(a.batch_statistics, b.batch_statistics);
  EXPECT_EQ(a.features, b.features);
}

// What a step keeps: the weights, the optimizer's array and the running statistics.
std::vector<std::vector<float>> kept_states(Executor& executor) {
  std::vector<std::vector<float>> states;
  for (const char* name : {"weights", "momentum", "statistics"}) states.push_back(state_of(executor, name));
  return states;
}

// `a` may differ from the reference by factor times the change that `rounding_size` in every weight of the reference
// makes. A sum of losses is an f32: it and the reference's are each rounded once more.
void expect_close(const Graph& graph, const Outcome& a, const Batch& batch, double rounding_size) {
  // A fused convolution of f16 rounds scale and shift, too: near 0, ReLU may decide otherwise than in the mask behind
  // it.
  const double factor = a.dtype == Dtype::f16 ? 16 : 8;
  const auto count = static_cast<int64_t>(batch.labels.size());
  const Outcome truth = outcome(*made(graph, {.backend = "reference", .batch = count}), batch);
  const Outcome moved = outcome(*made(graph, {.backend = "reference", .batch = count}, rounding_size), batch);
  EXPECT_EQ(a.report.counted, truth.report.counted);
  const double loss = truth.report.loss_sum;
  const double loss_size = std::abs(moved.report.loss_sum - loss) + rounding_size * loss;
  EXPECT_NEAR(a.report.loss_sum, loss, factor * loss_size + 2 * rounding(Dtype::f32) * loss);
  EXPECT_LT(distance(a.features, truth.features), factor * distance(moved.features, truth.features));
  EXPECT_LT(distance(a.batch_statistics, truth.batch_statistics),
            factor * distance(moved.batch_statistics, truth.batch_statistics));
  for (const Parameter& p : graph.parameters) {
    const auto range = [&](const Outcome& o) { return std::span<const float>(o.gradients).subspan(p.offset, p.count); };
    // One change is one sample: the length of so many independent numbers is off by 1 / sqrt(2 n), three times that
    // here.
    const double chance = 1 + 3 / std::sqrt(2 * static_cast<double>(p.count));
    EXPECT_LT(distance(range(a), range(truth)),
              chance * factor * distance(range(moved), range(truth)) + rounding_size * norm(range(truth)))
        << p.name;
  }
}

// Before a node runs, its results are numbers that are none, its workspace too: so it must write all of them, and find
// nothing there. What lies in place of an operand stays.
class PoisoningBackend : public WrappedBackend {
 public:
  using WrappedBackend::WrappedBackend;
  Run bind(const Site& site) override {
    std::vector<View> results;
    for (const Operand& result : site.node().writes) {
      const View view = site.view(result.role);
      const auto at_result = [&](const Operand& operand) { return site.view(operand.role).data == view.data; };
      const std::vector<Operand>& reads = site.node().reads;
      const bool in_place = std::any_of(reads.begin(), reads.end(), at_result);
      if (!in_place && site.program().value(result).layout.empty()) results.push_back(view);
    }
    return [results, run = inner().bind(site)](const StepCall& call) {
      for (const View& view : results)
        for (int64_t p = 0; p < view.shape.pixels(); ++p) {
          const auto size = static_cast<int64_t>(size_of(view.dtype));
          std::memset(static_cast<std::byte*>(view.data) + p * view.pixel_stride * size, 0xff,
                      static_cast<size_t>(view.shape.c * size));
        }
      run(call);
    };
  }
};

// With weights, for images of these tests.
std::unique_ptr<Machine> made_machine(const Graph& graph, const BackendCase& c, StepOptions options,
                                      Allreduce* sums = nullptr, bool poison_results = false) {
  std::unique_ptr<Backend> backend = make_backend(c.backend, {.dtype = c.dtype, .threads = 2});
  if (poison_results) backend = std::make_unique<PoisoningBackend>(std::move(backend));
  options.forward.dtype = c.dtype;
  std::fill(std::begin(options.forward.scale), std::end(options.forward.scale), kScale);
  auto machine = std::make_unique<Machine>(std::move(backend), graph, options, sums);
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  fill_parameters(graph, weights, statistics);
  machine->write(weights, statistics);
  return machine;
}

// One process that sums as `ranks` ranks would that all have the same values, on a stream beside the others. A sum
// takes its time, so whoever reads too early finds the rank's own values.
class RecordingAllreduce : public Allreduce {
 public:
  struct Sum {
    DeviceAddress address;
    int64_t count = 0;
    std::vector<float> before, seen;
  };

  RecordingAllreduce(Device& device, int ranks)
      : ranks_(ranks), waits_(device.name().starts_with("GPU")), stream_(device.make_stream(true)) {}
  int ranks() const override { return ranks_; }
  Stream& stream() override { return *stream_; }
  void enqueue(DeviceAddress values, int64_t count) override {
    Sum& sum = started.emplace_back();
    sum.address = values, sum.count = count;
    sum.before.resize(static_cast<size_t>(count)), result_.emplace_back(sum.before.size());
    if (on_start) sum.seen = on_start();
    std::vector<float>& result = result_.back();
    stream_->read(std::as_writable_bytes(std::span(sum.before)), values);
    stream_->enqueue([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
    stream_->read(std::as_writable_bytes(std::span(result)), values);
    if (waits_) stream_->synchronize();
    stream_->enqueue([this, &sum, &result] {
      EXPECT_TRUE(same_bits(result, sum.before)) << "a sum was written to while it ran";
      for (float& value : result) value *= static_cast<float>(ranks_);
    });
    stream_->write(values, std::as_bytes(std::span(result)));
  }

  std::deque<Sum> started;
  std::function<std::vector<float>()> on_start;  // what else to look at when a sum begins

 private:
  int ranks_;
  bool waits_;                             // on a GPU, what the host does is no work of a stream
  std::deque<std::vector<float>> result_;  // stay until the stream has ended
  std::unique_ptr<Stream> stream_;
};

class Network : public testing::TestWithParam<BackendCase> {
 protected:
  ExecutorOptions options(int64_t batch) const {
    // Without a loss scale, most gradients of f16 would be smaller than its normal numbers.
    return {.backend = GetParam().backend,
            .batch = batch,
            .dtype = GetParam().dtype,
            .threads = 2,
            .loss_scale = GetParam().dtype == Dtype::f16 ? 4096.0f : 0.0f,
            .deterministic = may_differ(GetParam())};
  }
};

// What looks into memory while a step runs.
class HostNetwork : public Network {};

TEST_P(Network, AgreesWithTheReference) {
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)})
    for (const int64_t count : {1, 4})
      for (const bool deterministic : std::set{false, may_differ(GetParam())}) {
        const Batch batch = made_up_batch(graph, count, 5);
        ExecutorOptions of = options(count);
        of.deterministic = deterministic;
        expect_close(graph, outcome(*made(graph, of), batch), batch, rounding(GetParam().dtype));
      }
}

TEST_P(Network, SeparateSiblingsAgreeWithTheReference) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 6);
  ExecutorOptions plain = options(4);
  plain.merge_siblings = false;
  expect_close(graph, outcome(*made(graph, plain), batch), batch, rounding(GetParam().dtype));
}

TEST_P(Network, RecomputeChangesNoBit) {
  if (GetParam().dtype == Dtype::f16 && may_differ(GetParam()))
    GTEST_SKIP() << "what is computed again can be fused with its reader, and the library's fused plan adds otherwise";
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)}) {
    const Batch batch = made_up_batch(graph, 4, 7);
    ExecutorOptions recompute = options(4);
    recompute.recompute = true;
    const auto kept = made(graph, options(4)), recomputed = made(graph, recompute);
    expect_same_bits(outcome(*recomputed, batch), outcome(*kept, batch));
    // Where values stay raw, no output of a batch norm is kept.
    if (GetParam().dtype != Dtype::f16) {
      EXPECT_LT(recomputed->memory().activations, kept->memory().activations);
    }
  }
}

TEST_P(Network, AStepDependsOnNoEarlierStep) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 8), other = made_up_batch(graph, 4, 9);
  const auto one = made(graph, options(4)), two = made(graph, options(4));
  const Outcome first = outcome(*one, batch);
  expect_same_bits(outcome(*one, batch), first);
  two->infer(other.pixels);
  outcome(*two, other);  // a second executor exists at the same time and ran something else before
  expect_same_bits(outcome(*two, batch), first);
}

TEST_P(Network, WorksOnAnyThread) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 8);
  ExecutorOptions one_thread = options(4);
  one_thread.threads = 1;
  const auto executor = made(graph, one_thread);
  const Outcome here = outcome(*executor, batch);
  Outcome there;
  std::thread([&] { there = outcome(*executor, batch); }).join();
  expect_same_bits(there, here);
}

TEST_P(HostNetwork, NothingIsKeptBetweenRunsAndNothingUnwrittenIsRead) {
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)})
    for (const bool recompute : {false, true}) {
      StepOptions options;
      options.forward.batch = 4;
      options.recompute = recompute;
      const auto clean = made_machine(graph, GetParam(), options),
                 poisoned = made_machine(graph, GetParam(), options, nullptr, true);
      for (uint64_t step = 0; step < 3; ++step) {
        const Batch batch = made_up_batch(graph, 4, 20 + step);
        poisoned->poison();
        const StepReport a = clean->step(call_of(batch, 0.25f, 0.05)), b = poisoned->step(call_of(batch, 0.25f, 0.05));
        EXPECT_EQ(a.loss_sum, b.loss_sum);
        EXPECT_EQ(a.squares, b.squares);
        EXPECT_EQ(b.counted, 4u);
        EXPECT_TRUE(std::isfinite(b.loss_sum) && std::isfinite(b.squares));
        EXPECT_TRUE(clean->all_states() == poisoned->all_states()) << "step " << step << ", recompute " << recompute;
        poisoned->poison();
        EXPECT_EQ(clean->infer(batch.pixels), poisoned->infer(batch.pixels)) << "step " << step;
        // Of a part of a batch, the images that are there.
        poisoned->poison();
        const auto some = std::span(batch.pixels).first(batch.pixels.size() / 2);
        const std::vector<float> first = clean->infer(some), second = poisoned->infer(some);
        EXPECT_TRUE(same_bits(std::span(first).first(first.size() / 2), std::span(second).first(second.size() / 2)));
      }
    }
}

TEST_P(Network, InferenceBetweenStepsChangesNoBit) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 16), other = made_up_batch(graph, 4, 17);
  const auto plain = made(graph, options(4)), validated = made(graph, options(4));
  for (int step = 0; step < 2; ++step) {
    const StepReport a = plain->step(call_of(batch, 0.25f, 0.05)), b = validated->step(call_of(batch, 0.25f, 0.05));
    EXPECT_EQ(a.loss_sum, b.loss_sum);
    EXPECT_EQ(a.squares, b.squares);
    EXPECT_EQ(state_of(*plain, "gradients"), state_of(*validated, "gradients"));
    EXPECT_EQ(kept_states(*plain), kept_states(*validated));
    validated->infer(other.pixels);
    EXPECT_EQ(kept_states(*plain), kept_states(*validated));
  }
}

TEST_P(Network, ImagesWithoutALabelAreNotCounted) {
  const Graph graph = menagerie();
  Batch batch = made_up_batch(graph, 4, 10);
  const auto executor = made(graph, options(4));
  double sum = 0;
  std::vector<double> bias(static_cast<size_t>(graph.classes));
  const Parameter& last = graph.parameters.back();
  for (size_t i = 0; i < 4; ++i) {
    Batch single = batch;
    for (size_t j = 0; j < 4; ++j)
      if (j != i) single.labels[j] = -1;
    const StepReport report = executor->step(call_of(single, 1));
    EXPECT_EQ(report.counted, 1u);
    sum += report.loss_sum;
    const HostView gradients = executor->state("gradients");
    for (size_t k = 0; k < bias.size(); ++k) bias[k] += gradients[last.offset + k];
  }
  const StepReport all = executor->step(call_of(batch, 1));
  // The losses of the images are the same: only the four sums of one and the sum of four are rounded to f32.
  EXPECT_NEAR(all.loss_sum, sum, 2 * rounding(Dtype::f32) * sum);
  for (size_t k = 0; k < bias.size(); ++k)
    EXPECT_NEAR(executor->state("gradients")[last.offset + k], bias[k],
                64 * rounding(Dtype::f32) * std::max(1.0f, options(4).loss_scale));
  std::fill(batch.labels.begin(), batch.labels.end(), -1);
  EXPECT_EQ(executor->step(call_of(batch, 1)).counted, 0u);
  EXPECT_EQ(norm(executor->state("gradients").span()), 0);
}

TEST_P(HostNetwork, SumsStartDuringBackwardWithFinalGradients) {
  const Graph graph = make_network("inception-bn-small", 16, 10);
  const Batch batch = made_up_batch(graph, 2, 11);
  RecordingAllreduce sums(host_device(), 1);
  StepOptions options;
  options.forward.batch = 2;
  options.bucket_bytes = size_t{16} << 10;
  const auto machine = made_machine(graph, GetParam(), options, &sums);
  machine->poison();
  const auto* first = machine->address("gradients").as<const float>();
  sums.on_start = [&] { return copy_of(std::span(first, graph.parameter_count)); };
  machine->step(call_of(batch, 0.5f));

  // The words are known first. What a sum found at its start is what the step leaves.
  const std::vector<float> gradients = machine->state("gradients");
  ASSERT_GT(sums.started.size(), 2u);
  EXPECT_EQ(sums.started.front().count, kWords);
  int64_t end = static_cast<int64_t>(graph.parameter_count);
  size_t others = 0, buckets = 0;
  std::sort(sums.started.begin(), sums.started.end(),
            [](const auto& a, const auto& b) { return b.address < a.address; });
  for (const RecordingAllreduce::Sum& sum : sums.started) {
    const int64_t begin = sum.address.as<const float>() - first;
    if (begin < 0 || begin >= static_cast<int64_t>(graph.parameter_count)) {
      ++others;
      continue;
    }
    ++buckets;
    // Each gradient once, in buckets cut from the end.
    EXPECT_EQ(begin + sum.count, end);
    EXPECT_TRUE(sum.count * 4 == static_cast<int64_t>(options.bucket_bytes) || begin == 0);
    end = begin;
    EXPECT_TRUE(same_bits(sum.before, std::span(gradients).subspan(static_cast<size_t>(begin), sum.before.size())));
    // The sums start while backward still runs: all but the last before the gradient of the first weights is there.
    EXPECT_EQ(std::isnan(sum.seen.front()), begin != 0);
  }
  EXPECT_EQ(end, 0);
  EXPECT_EQ(others, 2u);
  EXPECT_EQ(buckets, (gradients.size() * sizeof(float) + options.bucket_bytes - 1) / options.bucket_bytes);
  EXPECT_TRUE(std::none_of(gradients.begin(), gradients.end(), [](float g) { return std::isnan(g); }));
}

// All ranks have the same batch: doubling is exact, so the bits are those of one rank.
TEST_P(Network, TwoRanksWithTheSameBatchMakeTheStepOfOne) {
  const Graph graph = menagerie();
  const SumsOn sums = [](Device& device) { return std::make_unique<RecordingAllreduce>(device, 2); };
  ExecutorOptions both = options(4);
  both.ranks = 2;
  const auto one = made(graph, options(4)), two = made(graph, both, 0, sums);
  for (int step = 0; step < 2; ++step) {
    const Batch batch = made_up_batch(graph, 4, 18 + static_cast<uint64_t>(step));
    StepInput call = call_of(batch, 0.25f, 0.05);
    const StepReport a = one->step(call);
    call.gradient_scale /= 2;
    const StepReport b = two->step(call);
    EXPECT_EQ(b.loss_sum, 2 * a.loss_sum);
    EXPECT_EQ(b.counted, 2 * a.counted);
    EXPECT_EQ(b.top1, 2 * a.top1);
    EXPECT_EQ(b.top5, 2 * a.top5);
    EXPECT_EQ(b.squares, a.squares);
    EXPECT_EQ(state_of(*two, "gradients"), state_of(*one, "gradients"));
    EXPECT_EQ(kept_states(*two), kept_states(*one)) << "step " << step;
    const std::vector<float> of_two = state_of(*two, "batch_statistics"), of_one = state_of(*one, "batch_statistics");
    for (size_t i = 0; i < graph.statistic_count; ++i) ASSERT_EQ(of_two[i], 2 * of_one[i]);
  }
}

TEST_P(Network, InferenceWithTheBatchsStatisticsMatchesTheTrainingForwardPass) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 4, 12);
  ExecutorOptions training = options(4), inference = options(4);
  training.statistics_momentum = 0;
  inference.training = false;
  const auto trained = made(graph, training), deployed = made(graph, inference);
  const Outcome step = outcome(*trained, batch);
  deployed->write("statistics", state_of(*trained, "statistics"));
  EXPECT_EQ(state_of(*trained, "statistics"), step.batch_statistics);
  const std::vector<float> here = copy_of(trained->infer(batch.pixels));
  // What is fused with a convolution of f16 rounds scale and shift, too.
  const bool fused = GetParam().dtype == Dtype::f16;
  const std::vector<float> features = copy_of(trained->features());
  EXPECT_LE(distance(features, step.features), fused ? 8 * rounding(Dtype::f16) * norm(step.features) : 0);
  const std::vector<float> there = copy_of(deployed->infer(batch.pixels));
  EXPECT_LE(distance(there, here), 64 * rounding(GetParam().dtype) * norm(here));
  EXPECT_LT(deployed->memory().activations, trained->memory().activations);
  // A batch with fewer images gives the same logits for them.
  const size_t image = batch.pixels.size() / 4;
  const auto fewer = deployed->infer(std::span(batch.pixels).first(2 * image));
  for (size_t i = 0; i < static_cast<size_t>(2 * graph.classes); ++i) EXPECT_EQ(fewer[i], there[i]);
}

TEST_P(Network, AlsoInfersImagesOfOtherSizes) {
  const Graph graph = make_network("inception-bn-small", 28, 10), larger = make_network("inception-bn-small", 32, 10);
  const Batch batch = made_up_batch(graph, 2, 19), larger_batch = made_up_batch(larger, 2, 19);
  ExecutorOptions inference = options(2);
  inference.training = false;
  const auto single = made(larger, inference);
  for (const bool training : {false, true}) {
    ExecutorOptions own = options(2);
    own.training = training;
    const auto executor = made(graph, own, 0, nullptr, {larger, graph});
    if (training) {
      executor->step(call_of(batch, 0.5f, 0.05));
      for (const char* name : {"weights", "statistics"}) single->write(name, state_of(*executor, name));
    }
    const std::vector<float> there = copy_of(single->infer(larger_batch.pixels));
    EXPECT_EQ(copy_of(executor->infer(larger_batch.pixels, 1)), there) << "training " << training;
    EXPECT_EQ(copy_of(executor->logits()), there);
    const std::vector<float> here = copy_of(executor->infer(batch.pixels));
    EXPECT_EQ(copy_of(executor->infer(batch.pixels, 2)), here);
    EXPECT_EQ(copy_of(executor->logits()), here);
    EXPECT_THROW(executor->infer(batch.pixels, 1), UsageError);
  }
}

// The same program twice lies at the same bytes: there is one slab for all sizes.
TEST_P(HostNetwork, AllSizesShareOneSlab) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 19);
  const auto executor = made(graph, options(2), 0, nullptr, {graph});
  const float* const logits = executor->infer(batch.pixels).data();
  EXPECT_EQ(executor->infer(batch.pixels, 1).data(), logits);
}

TEST_P(Network, StatisticsMoveByTheirMomentum) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 13);
  ExecutorOptions halves = options(2);
  halves.ranks = 2;  // with no one to sum with: the rank's own statistics are the sum
  const auto executor = made(graph, halves);
  const std::vector<float> before = state_of(*executor, "statistics");
  const Outcome step = outcome(*executor, batch);
  const std::vector<float> after = state_of(*executor, "statistics");
  for (size_t i = 0; i < before.size(); ++i) {
    const double expected = 0.9 * before[i] + 0.1 * 0.5 * step.batch_statistics[i];
    EXPECT_NEAR(after[i], expected, 4 * rounding(Dtype::f32) * (std::abs(expected) + 1));
  }
}

// A power of two moves only the exponents.
TEST_P(Network, ALossScaleChangesNoBitOfAStep) {
  const Graph graph = menagerie();
  ExecutorOptions scaled = options(4);
  scaled.loss_scale = 1024;
  const auto plain = made(graph, options(4)), other = made(graph, scaled);
  for (uint64_t step = 0; step < 3; ++step) {
    const Batch batch = made_up_batch(graph, 4, 30 + step);
    const StepReport a = plain->step(call_of(batch, 0.25f, 0.05)), b = other->step(call_of(batch, 0.25f, 0.05));
    EXPECT_TRUE(b.applied);
    EXPECT_EQ(b.loss_scale, 1024);
    EXPECT_EQ(b.loss_sum, a.loss_sum);
    // A backend may sum the squares in other pieces; of at most 2^14 f32 each, all positive.
    EXPECT_NEAR(b.squares, a.squares, 0x1p14 * rounding(Dtype::f32) * a.squares);
    EXPECT_EQ(kept_states(*other), kept_states(*plain)) << "step " << step;
  }
}

TEST_P(Network, AGradientThatIsNotFiniteIsSkippedWithLossScaling) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 33);
  ExecutorOptions scaled = options(2);
  const float first = GetParam().dtype == Dtype::f16 ? 32768 : 8;  // f16 has no bits to spare near 0
  scaled.loss_scale = first;
  scaled.loss_scale_interval = 100;
  const auto executor = made(graph, scaled), undisturbed = made(graph, scaled);
  executor->step(call_of(batch, 0.5f, 0.05));
  undisturbed->step(call_of(batch, 0.5f, 0.05));
  const std::vector<std::vector<float>> before = kept_states(*executor);
  // Two are in flight: the second one works with what the first one left.
  executor->enqueue(call_of(batch, 0x1p127f, 0.05));
  executor->enqueue(call_of(batch, 0x1p127f, 0.05));
  for (const float scale : {first / 2, first / 4}) {
    const StepReport report = executor->collect();
    EXPECT_TRUE(std::isfinite(report.loss_sum));
    EXPECT_FALSE(report.applied);
    EXPECT_EQ(report.loss_scale, scale);
  }
  EXPECT_EQ(kept_states(*executor), before);
  EXPECT_EQ(state_of(*executor, "loss_scale"), (std::vector<float>{first / 4, 0}));
  executor->step(call_of(batch, 0.5f, 0.05));
  undisturbed->step(call_of(batch, 0.5f, 0.05));
  EXPECT_EQ(kept_states(*executor), kept_states(*undisturbed));
}

// Lanes on threads of their own, in whatever order they come to run.
TEST_P(Network, LanesOnThreadsChangeNoBit) {
  for (const Graph& graph : {menagerie(), make_network("inception-bn-small", 16, 10)})
    for (const bool recompute : {false, true}) {
      ExecutorOptions threads = options(4), calling = options(4);
      threads.recompute = calling.recompute = recompute;
      threads.beside = true;
      const auto beside = made(graph, threads), here = made(graph, calling);
      const auto on_side = [](const Node& node) { return node.lane == Lane::side; };
      const Program& program = beside->training_program();
      EXPECT_GE(std::count_if(program.nodes.begin(), program.nodes.end(), on_side), 10);
      for (uint64_t step = 0; step < 4; ++step) {
        const Batch batch = made_up_batch(graph, 4, 40 + step);
        expect_same_bits(outcome(*beside, batch), outcome(*here, batch));
        beside->step(call_of(batch, 0.25f, 0.05));
        here->step(call_of(batch, 0.25f, 0.05));
        EXPECT_EQ(kept_states(*beside), kept_states(*here)) << "step " << step;
        EXPECT_EQ(copy_of(beside->infer(batch.pixels)), copy_of(here->infer(batch.pixels)));
      }
    }
}

TEST_P(Network, ALossThatIsNotFiniteChangesNothing) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 21);
  const auto executor = made(graph, options(2)), undisturbed = made(graph, options(2));
  executor->step(call_of(batch, 0.5f, 0.05));
  undisturbed->step(call_of(batch, 0.5f, 0.05));
  for (const float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
    std::vector<float> weights = state_of(*executor, "weights");
    const float good = weights.back();
    weights.back() = bad;
    executor->write("weights", weights);
    const std::vector<std::vector<float>> before = kept_states(*executor);
    const StepReport report = executor->step(call_of(batch, 0.5f, 0.05));
    EXPECT_FALSE(std::isfinite(report.loss_sum)) << bad;
    EXPECT_EQ(report.counted, 2u);
    const std::vector<std::vector<float>> after = kept_states(*executor);
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(same_bits(after[i], before[i])) << "state " << i;
    weights.back() = good;
    executor->write("weights", weights);
  }
  // With the weight repaired, training goes on as if nothing had happened.
  const StepReport a = executor->step(call_of(batch, 0.5f, 0.05)), b = undisturbed->step(call_of(batch, 0.5f, 0.05));
  EXPECT_EQ(a.loss_sum, b.loss_sum);
  EXPECT_EQ(kept_states(*executor), kept_states(*undisturbed));
  // Nor is there a mean loss without a single label.
  Batch none = batch;
  std::fill(none.labels.begin(), none.labels.end(), -1);
  executor->step(call_of(none, 0.5f, 0.05));
  EXPECT_EQ(kept_states(*executor), kept_states(*undisturbed));
}

TEST_P(Network, RefusesWrongInputsBeforeItWritesAnything) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 14);
  const auto executor = made(graph, options(2));
  executor->step(call_of(batch, 0.5f, 0.05));
  const auto everything = [&] {
    std::vector<std::vector<float>> all = kept_states(*executor);
    for (const char* name : {"gradients", "batch_statistics"}) all.push_back(state_of(*executor, name));
    all.push_back(copy_of(executor->logits()));
    return all;
  };
  const auto before = everything();
  const std::vector<int32_t> too_large = {0, static_cast<int32_t>(graph.classes)};
  const auto expect_refused = [&](const StepInput& call) {
    EXPECT_THROW(executor->step(call), UsageError);
    EXPECT_EQ(everything(), before);
  };
  StepInput call = call_of(batch, 0.5f, 0.05);
  call.labels = too_large;
  expect_refused(call);
  call.labels = std::span(batch.labels).first(1);
  expect_refused(call);
  call = call_of(batch, 0.5f, 0.05);
  call.pixels = std::span(batch.pixels).first(100);
  expect_refused(call);
  call.pixels = std::span(batch.pixels).first(batch.pixels.size() / 2);  // whole images, but too few
  expect_refused(call);
  ExecutorOptions inference = options(2);
  inference.training = false;
  EXPECT_THROW(made(graph, inference)->step(call_of(batch, 1)), UsageError);
  EXPECT_THROW(made(graph, options(0)), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Backends, Network, testing::ValuesIn(backend_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Backends, HostNetwork, testing::ValuesIn(host_backend_cases()), case_name);

// Checks the whole network with finite differences: along the normalised gradient of one layer, the slope of the
// loss is the gradient's length.
TEST(NetworkReference, GradientsMatchFiniteDifferences) {
  const Graph graph = menagerie();
  const Batch batch = made_up_batch(graph, 2, 15);
  const auto executor = made(graph, {.backend = "reference", .batch = 2});
  const Outcome at = outcome(*executor, batch);
  for (const Parameter& p : graph.parameters) {
    const auto gradient = std::span<const float>(at.gradients).subspan(p.offset, p.count);
    const std::vector<float> kept = state_of(*executor, "weights");
    const double length = norm(gradient);
    if (length < 1e-3) continue;  // weights that only feed a batch norm may have a gradient of zero
    const auto loss = [&](double step) {
      std::vector<float> moved = kept;
      for (size_t i = 0; i < p.count; ++i)
        moved[p.offset + i] = static_cast<float>(kept[p.offset + i] + step * gradient[i] / length);
      executor->write("weights", moved);
      return 0.5 * executor->step(call_of(batch, 0.5f)).loss_sum;
    };
    const auto slope = [&](double h) { return (loss(h) - loss(-h)) / (2 * h); };
    // The kinks of ReLU and max pool make the truncation error irregular: three step sizes bound it. Each of the two
    // losses is rounded to f32.
    const double h = 0x1p-10, a = slope(h), b = slope(2 * h), c = slope(4 * h);
    executor->write("weights", kept);
    EXPECT_NEAR(
        length, a,
        2 * std::max(std::abs(a - b), std::abs(b - c)) + (64 + 0.5 * at.report.loss_sum) * rounding(Dtype::f32) / h)
        << p.name;
  }
}

}  // namespace
}  // namespace packhorse

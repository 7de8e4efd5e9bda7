#include "ops/cuda/plan_trials.h"

#include <algorithm>
#include <span>
#include <vector>

#include "device/cuda/cuda_device.h"
#include "ops/choices.h"
#include "ops/cuda/passes.h"

namespace packhorse::cuda {

namespace {

constexpr int kRuns = 4;          // in the graph that is timed, so that the host's time does not count
constexpr double kFarLonger = 2;  // a first run that takes this many times the best one's time
constexpr double kHostShare = 50e-6;

}  // namespace

std::string plan_choice_key(const Device& device, const ConvolutionSpec& spec, bool deterministic) {
  return choice_key(model_of(device), cudnn_name(), spec.text() + (deterministic ? " repeats" : ""));
}

struct PlanTrials::State {
  struct Memory {
    DeviceMemory memory;
    bool written;
  };

  Device& device;
  Stream& stream;
  cudnnContext* handle;
  PortPointers pointers;
  std::vector<Memory> operands;
  DeviceMemory workspace, sums;

  State(Device& on, Stream& by, cudnnContext* with, const ConvolutionSpec& spec)
      : device(on), stream(by), handle(with), sums(on, kMostChecksums * sizeof(uint64_t)) {
    unsigned seed = 0;
    for (const PortUse& use : ports_of(spec)) {
      const auto bytes = static_cast<size_t>(use.shape.count()) * size_of(use.dtype);
      operands.push_back({DeviceMemory(device, bytes), use.written});
      void* const at = operands.back().memory.address().as<void>();
      if (use.read) fill_made_up(use.dtype, at, use.shape.count(), ++seed, stream_of(stream));
      pointers[use.port] = at;
    }
  }
  ~State() {
    try {
      stream.synchronize();
    } catch (...) {
      return;  // whoever ran the plan knows
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  double seconds_of(const Stream::Work& work) {
    double seconds = 0;
    stream.enqueue(work, &seconds);
    stream.synchronize();
    return seconds;
  }
  /// Of all that the last run wrote.
  std::vector<uint64_t> bits() {
    std::vector<uint64_t> all, one;
    for (const Memory& operand : operands) {
      if (!operand.written) continue;
      const unsigned count =
          checksums(operand.memory.address().as<void>(), static_cast<int64_t>(operand.memory.bytes()),
                    sums.address().as<uint64_t>(), stream_of(stream));
      one.resize(count);
      stream.read(std::as_writable_bytes(std::span(one)), sums.address());
      stream.synchronize();
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
};

PlanTrials::PlanTrials(Device& device, Stream& stream, cudnnContext* handle, const ConvolutionSpec& spec)
    : state_(std::make_unique<State>(device, stream, handle, spec)) {}
PlanTrials::~PlanTrials() = default;

Trial PlanTrials::run(const ConvolutionPlans& plans, size_t candidate, std::optional<double> best) {
  State& s = *state_;
  const auto bytes = static_cast<size_t>(plans.candidates()[candidate].workspace);
  if (bytes > s.workspace.bytes()) {
    s.workspace = {};
    s.workspace = DeviceMemory(s.device, bytes);
  }
  const auto once = [&] { plans.execute(s.handle, candidate, s.pointers, s.workspace.address().as<void>()); };
  once();  // kernels are loaded
  s.stream.synchronize();
  Trial trial{.seconds = s.seconds_of(once)};
  if (best && trial.seconds > kFarLonger * *best + kHostShare) return trial;

  const auto several = [&] {
    s.device.repeat(s.stream, this, [&] {
      for (int i = 0; i < kRuns; ++i) once();
    });
  };
  try {
    for (int i = 0; i < 2; ++i) several();  // as it is, then captured
    const std::vector<uint64_t> bits = s.bits();
    for (int i = 0; i < 2; ++i) {
      const double seconds = s.seconds_of(several) / kRuns;
      trial.seconds = i == 0 ? seconds : std::min(trial.seconds, seconds);
      trial.repeats = trial.repeats && s.bits() == bits;
    }
  } catch (...) {
    s.device.forget(this);
    throw;
  }
  s.device.forget(this);
  return trial;
}

double measured_bandwidth(Device& device, Stream& stream) {
  // More than the device's cache holds.
  const auto pixels = static_cast<int64_t>(2 * limits_of(device).cache_bytes / (256 * size_of(Dtype::f16)));
  const Shape shape{1, 1, pixels, 256};
  const auto bytes = static_cast<size_t>(shape.count()) * size_of(Dtype::f16);
  const DeviceMemory from(device, bytes), to(device, bytes);
  const auto view = [&](const DeviceMemory& memory) {
    return View{memory.address().as<void>(), shape, shape.c, Dtype::f16};
  };
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    double seconds = 0;
    stream.enqueue([&] { add_channels(view(from), {}, view(to), stream_of(stream)); }, &seconds);
    stream.synchronize();
    best = i == 0 ? seconds : std::min(best, seconds);
  }
  return 2 * static_cast<double>(bytes) / best;
}

}  // namespace packhorse::cuda

// Times training steps on made-up images:
//
//     engine_bench NETWORK BATCH f32|bf16|f16 [backend=cpu] [threads=N] [classes=1000] [size=224] [seconds=15]
//                  [profile] [slowest=15] [lane-threads] [measured] [deterministic] [choices=FILE]
//
// Prints images/s (the median of five blocks), images per second of processor time (which other programs disturb less),
// and memory; on the CPU also the share of the time that the convolutions alone take (the limit that no scheduling can
// beat). `profile` adds the time of each kind of node and of the slowest nodes; on a GPU it stops the device between
// nodes, so the whole is slower. `lane-threads`: as the option of train.
// `measured`: of several ways to compute the same, the fastest is taken; `choices`: a file that keeps them. A device
// that works beside the host gets a step ahead, as in a training. f16 runs with a loss scale of 1,024.
#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "base/philox.h"
#include "base/stopwatch.h"
#include "net/graph.h"
#include "ops/executor.h"

namespace packhorse {
namespace {

struct Settings {
  std::string network, backend = "cpu";
  Dtype dtype = Dtype::f32;
  int64_t batch = 0, classes = 1000, size = 224;
  int threads = available_cores();
  double seconds = 15;
  size_t slowest = 15;
  bool profile = false, lane_threads = false, measured = false, deterministic = false;
  std::string choices;

  /// Where that costs nothing, nodes are always timed.
  bool timed() const { return profile || backend != "cuda"; }
};

Settings parse(const std::vector<std::string>& args) {
  const std::map<std::string, Dtype> types = {{"f32", Dtype::f32}, {"bf16", Dtype::bf16}, {"f16", Dtype::f16}};
  if (args.size() < 3 || !types.contains(args[2]))
    throw UsageError({"engine_bench needs a network, a batch size and a type (f32, bf16 or f16)", "command line",
                      "engine_bench inception-bn-21k 32 bf16 threads=2 classes=1000 profile"});
  Settings s;
  s.network = args[0];
  s.batch = std::stoll(args[1]);
  s.dtype = types.at(args[2]);
  if (s.network == "inception-bn-small") s.size = 28;
  for (size_t i = 3; i < args.size(); ++i) {
    const std::string key = args[i].substr(0, args[i].find('=')), value = args[i].substr(args[i].find('=') + 1);
    if (key == "backend") s.backend = value;
    if (key == "threads") s.threads = std::stoi(value);
    if (key == "classes") s.classes = std::stoll(value);
    if (key == "size") s.size = std::stoll(value);
    if (key == "seconds") s.seconds = std::stod(value);
    if (key == "profile") s.profile = true;
    if (key == "slowest") s.slowest = std::stoul(value);
    if (key == "measured") s.measured = true;
    if (key == "deterministic") s.deterministic = true;
    if (key == "choices") s.choices = value;
    if (key == "lane-threads") s.lane_threads = true;
  }
  return s;
}

class Training {
 public:
  explicit Training(const Settings& s)
      : batch_(s.batch),
        graph_(make_network(s.network, s.size, s.classes)),
        executor_(graph_, options(s)),
        pixels_(executor_.device(), static_cast<size_t>(s.batch * s.size * s.size * 3)),
        labels_(executor_.device(), static_cast<size_t>(s.batch)) {
    initialise(executor_, 1);
    RandomStream random(1, RandomUse::test, 0, 0);
    for (uint8_t& pixel : pixels_) pixel = static_cast<uint8_t>(random.below(256));
    for (int32_t& label : labels_) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(s.classes)));
  }
  Executor& executor() { return executor_; }
  double loss() const { return loss_; }
  /// Enqueues a step; on a device that works beside the host it may still be at work when this returns.
  void step() {
    executor_.enqueue({.pixels = pixels_.span(),
                       .labels = labels_.span(),
                       .gradient_scale = 1.0f / static_cast<float>(batch_),
                       .learning_rate = 0.05});
    if (executor_.in_flight() == Executor::kMostInFlight || !executor_.works_beside()) collect();
  }
  void finish() {
    while (executor_.in_flight() > 0) collect();
  }

 private:
  void collect() { loss_ = executor_.collect().loss_sum / static_cast<double>(batch_); }
  static ExecutorOptions options(const Settings& s) {
    return {.backend = s.backend,
            .batch = s.batch,
            .dtype = s.dtype,
            .threads = s.threads,
            .beside = s.lane_threads,
            .scale = {1.0f / 64, 1.0f / 64, 1.0f / 64},
            .profile = s.timed(),
            .loss_scale = s.dtype == Dtype::f16 ? 1024.0f : 0.0f,
            .deterministic = s.deterministic,
            .measure = s.measured,
            .choices = read_choices(s.choices)};
  }
  int64_t batch_;
  Graph graph_;
  Executor executor_;
  HostArray<uint8_t> pixels_;
  HostArray<int32_t> labels_;
  double loss_ = 0;
};

// Seconds so far in each pass, for each kind of node.
constexpr std::array kPasses = {Pass::forward, Pass::backward, Pass::update};
using Seconds = std::array<double, kPasses.size()>;

std::map<std::string, Seconds> by_kind(Executor& executor) {
  std::map<std::string, Seconds> sums;
  for (const NodeTime& node : executor.times()) sums[node.kind][static_cast<size_t>(node.pass)] += node.seconds;
  return sums;
}

double seconds_of_convolutions(Executor& executor) {
  double sum = 0;
  for (const NodeTime& node : executor.times())
    if (node.kind.starts_with("convolution")) sum += node.seconds;
  return sum;
}

void print_profile(Executor& executor, double images, double elapsed, size_t slowest) {
  double known = 0;
  std::printf("%-32s %10s %10s %10s  us an image\n", "", "forward", "backward", "update");
  for (const auto& [kind, seconds] : by_kind(executor)) {
    std::printf("%-32s", kind.c_str());
    for (const Pass pass : kPasses) std::printf(" %10.2f", 1e6 * seconds[static_cast<size_t>(pass)] / images);
    std::printf("\n");
    for (const double one : seconds) known += one;
  }
  std::printf("%-32s %10.2f\n", "between nodes", 1e6 * (elapsed - known) / images);
  std::vector<NodeTime> nodes = executor.times();
  std::sort(nodes.begin(), nodes.end(), [](const NodeTime& a, const NodeTime& b) { return a.seconds > b.seconds; });
  constexpr std::array kNames = {"forward", "backward", "update"};
  for (size_t i = 0; i < std::min(nodes.size(), slowest); ++i)
    std::printf("  %9.2f  %-8s %s %s\n", 1e6 * nodes[i].seconds / images, kNames[static_cast<size_t>(nodes[i].pass)],
                nodes[i].kind.c_str(), nodes[i].name.c_str());
}

void run(const Settings& s) {
  Training training(s);
  keep_choices(s.choices, training.executor().choices());
  const Stopwatch whole;
  constexpr int kWarmUp = 2;
  for (int i = 0; i < kWarmUp; ++i) training.step();
  training.finish();
  const double warm = seconds_of_convolutions(training.executor());
  std::vector<double> rates, processor_rates;
  double total_images = 0, total_seconds = 0;
  for (int block = 0; block < 5; ++block) {
    const Stopwatch clock;
    const std::clock_t processor = std::clock();
    double images = 0;
    while (clock.seconds() < s.seconds / 5) {
      training.step();
      images += static_cast<double>(s.batch);
    }
    training.finish();
    rates.push_back(images / clock.seconds());
    processor_rates.push_back(images * CLOCKS_PER_SEC / static_cast<double>(std::clock() - processor));
    total_images += images;
    total_seconds += clock.seconds();
  }
  std::sort(rates.begin(), rates.end());
  std::sort(processor_rates.begin(), processor_rates.end());
  const double convolutions = seconds_of_convolutions(training.executor()) - warm;
  const MemoryReport memory = training.executor().memory();
  const auto megabytes = [](uint64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  std::printf("packhorse %s %s classes=%ld batch=%ld %s threads=%d: %.2f images/s (from %.2f to %.2f), ",
              training.executor().backend().c_str(), s.network.c_str(), static_cast<long>(s.classes),
              static_cast<long>(s.batch), name_of(s.dtype).c_str(), s.threads, rates[2], rates.front(), rates.back());
  if (s.timed())
    std::printf("%.2f a processor second; convolutions alone %.2f images/s, %.0f %% of the time; ", processor_rates[2],
                total_images / convolutions, 100 * convolutions / total_seconds);
  std::printf(
      "activations %.0f MB (%.0f unplanned), parameters %.0f MB, optimizer %.0f MB, workspace %.0f MB; loss %.3f\n",
      megabytes(memory.activations), megabytes(memory.activations_unplanned), megabytes(memory.parameters),
      megabytes(memory.optimizer), megabytes(memory.workspace), training.loss());
  if (s.profile)
    print_profile(training.executor(), total_images + kWarmUp * static_cast<double>(s.batch), whole.seconds(),
                  s.slowest);
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  try {
    packhorse::run(packhorse::parse({argv + 1, argv + argc}));
    return packhorse::kExitOk;
  } catch (const packhorse::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}

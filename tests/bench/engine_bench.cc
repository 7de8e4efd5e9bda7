// Times training steps on made-up pictures: engine_bench NETWORK BATCH DTYPE [THREADS] [CLASSES] [IMAGE_SIZE].
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "base/philox.h"
#include "net/graph.h"
#include "ops/executor.h"

namespace {

using Clock = std::chrono::steady_clock;
using packhorse::Dtype;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int run(const std::vector<std::string>& args) {
  if (args.size() < 3) {
    std::fprintf(stderr, "usage: engine_bench NETWORK BATCH f32|bf16 [THREADS] [CLASSES] [IMAGE_SIZE]\n");
    return packhorse::kExitUsage;
  }
  const auto number = [&](size_t i, int64_t fallback) { return args.size() > i ? std::stoll(args[i]) : fallback; };
  const std::string& network = args[0];
  const int64_t batch = number(1, 1);
  const auto threads = static_cast<int>(number(3, packhorse::available_cores()));
  const int64_t classes = number(4, 1000), size = number(5, network == "inception-bn-small" ? 28 : 224);
  const packhorse::Graph graph = packhorse::make_network(network, size, classes);
  packhorse::Executor executor(graph, {.backend = "",
                                       .batch = batch,
                                       .dtype = args[2] == "bf16" ? Dtype::bf16 : Dtype::f32,
                                       .threads = threads,
                                       .scale = {0.017f, 0.017f, 0.017f}});
  packhorse::initialise(graph, 1, executor.parameters().data(), executor.statistics().data());
  executor.parameters_changed();
  std::vector<uint8_t> pixels(static_cast<size_t>(batch * size * size * 3));
  std::vector<int32_t> labels(static_cast<size_t>(batch));
  packhorse::RandomStream random(1, packhorse::RandomUse::test, 0, 0);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int32_t& label : labels) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(classes)));

  std::vector<float> momentum(graph.parameter_count);
  double loss = 0;
  const auto step = [&] {
    loss = executor.step(pixels, labels, 1.0f / static_cast<float>(batch), nullptr).loss_sum;
    const auto parameters = executor.parameters();
    const auto gradients = executor.gradients();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < parameters.size(); ++i) {
      momentum[i] = 0.9f * momentum[i] + gradients[i] + 1e-4f * parameters[i];
      parameters[i] -= 0.05f * momentum[i];
    }
    executor.parameters_changed();
    executor.update_statistics(1);
  };
  for (int i = 0; i < 2; ++i) step();
  std::vector<double> rates;
  for (int block = 0; block < 5; ++block) {
    const auto start = Clock::now();
    int64_t images = 0;
    while (seconds_since(start) < 3) {
      step();
      images += batch;
    }
    rates.push_back(static_cast<double>(images) / seconds_since(start));
  }
  std::sort(rates.begin(), rates.end());
  const auto memory = executor.memory();
  std::printf(
      "packhorse %s %s batch=%ld %s threads=%d: %.2f images/s (from %.2f to %.2f), activations %.0f MB of %.0f, "
      "parameters %.0f MB, workspace %.0f MB, loss %.4f\n",
      executor.backend().c_str(), network.c_str(), static_cast<long>(batch), args[2].c_str(), threads, rates[2],
      rates.front(), rates.back(), static_cast<double>(memory.activations) / 1e6,
      static_cast<double>(memory.activations_unplanned) / 1e6, static_cast<double>(memory.parameters) / 1e6,
      static_cast<double>(memory.workspace) / 1e6, loss / static_cast<double>(batch));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const packhorse::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}

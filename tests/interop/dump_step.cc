// Writes what ten training steps do to a network, so that torch_referee.py can repeat them:
//
//     dump_step NETWORK IMAGE_SIZE CLASSES BATCH FILE.h5
//
// The file holds the settings as root attributes; pixels, labels and the initial parameters/NAME; logits,
// gradients/NAME and batch_statistics/NAME of the first step; losses of all ten steps of SGD; after them
// statistics/NAME and the logits of inference.
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "hdf5/hdf5_file.h"
#include "net/graph.h"
#include "ops/executor.h"

namespace packhorse {
namespace {

constexpr float kMean = 117, kScale = 1.0f / 64, kMomentum = 0.9f, kDecay = 1e-2f, kSmoothing = 0.1f;
constexpr double kRate = 0.005;
constexpr int kSteps = 10;

void write_parameters(Hdf5Writer& file, const std::string& group, const Graph& graph, std::span<const float> values) {
  for (const Parameter& p : graph.parameters)
    file.write(group + "/" + p.name, values.subspan(p.offset, p.count), p.shape);
}

void write_statistics(Hdf5Writer& file, const std::string& group, const Graph& graph, std::span<const float> values) {
  for (const Statistic& s : graph.statistics)
    file.write(group + "/" + s.name, values.subspan(s.offset, s.count), {static_cast<int64_t>(s.count)});
}

void write_settings(Hdf5Writer& file, const Graph& graph) {
  file.attribute("", "network", graph.name);
  file.attribute("", "image_size", graph.image_size);
  file.attribute("", "classes", graph.classes);
  file.attribute("", "steps", int64_t{kSteps});
  file.attribute("", "mean", static_cast<double>(kMean));
  file.attribute("", "scale", static_cast<double>(kScale));
  file.attribute("", "label_smoothing", static_cast<double>(kSmoothing));
  file.attribute("", "rate", kRate);
  file.attribute("", "momentum", static_cast<double>(kMomentum));
  file.attribute("", "weight_decay", static_cast<double>(kDecay));
}

int dump(const std::vector<std::string>& args) {
  if (args.size() != 5) {
    std::fprintf(stderr, "usage: dump_step NETWORK IMAGE_SIZE CLASSES BATCH FILE.h5\n");
    return kExitUsage;
  }
  const Graph graph = make_network(args[0], std::stoll(args[1]), std::stoll(args[2]));
  const int64_t batch = std::stoll(args[3]);
  Executor executor(graph, {.backend = "",
                            .batch = batch,
                            .threads = 2,
                            .mean = {kMean, kMean, kMean},
                            .scale = {kScale, kScale, kScale},
                            .label_smoothing = kSmoothing,
                            .momentum = kMomentum,
                            .weight_decay = kDecay});
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  initialise(graph, 1, weights.data(), statistics.data());
  RandomStream random(1, RandomUse::test, 0, 0);
  for (const Parameter& p : graph.parameters)  // scales and shifts that differ, so that a mix-up shows
    if (p.shape.size() == 1)
      for (float& value : std::span(weights).subspan(p.offset, p.count)) value += random.uniform(-0.2f, 0.2f);
  executor.write("weights", weights);
  executor.write("statistics", statistics);
  std::vector<uint8_t> pixels(static_cast<size_t>(batch * graph.image_size * graph.image_size * 3));
  std::vector<int32_t> labels(static_cast<size_t>(batch));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int32_t& label : labels) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(graph.classes)));

  Hdf5Writer file(args[4]);
  write_settings(file, graph);
  const std::vector<uint32_t> wide(pixels.begin(), pixels.end());
  file.write("pixels", wide, {batch, graph.image_size, graph.image_size, 3});
  file.write("labels", std::vector<int64_t>(labels.begin(), labels.end()), {batch});
  write_parameters(file, "parameters", graph, weights);

  const StepInput call{
      .pixels = pixels, .labels = labels, .gradient_scale = 1.0f / static_cast<float>(batch), .learning_rate = kRate};
  std::vector<double> losses;
  for (int step = 0; step < kSteps; ++step) {
    losses.push_back(executor.step(call).loss_sum / static_cast<double>(batch));
    if (step == 0) {
      file.write("logits", executor.logits().span(), {batch, graph.classes});
      write_parameters(file, "gradients", graph, executor.state("gradients").span());
      write_statistics(file, "batch_statistics", graph, executor.state("batch_statistics").span());
    }
  }
  file.write("losses", losses, {kSteps});
  write_statistics(file, "statistics", graph, executor.state("statistics").span());
  file.write("inference", executor.infer(pixels), {batch, graph.classes});
  file.commit();
  return kExitOk;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  try {
    return packhorse::dump({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return packhorse::kExitFailure;
  }
}

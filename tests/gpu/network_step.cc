// One training step of a network in f32 on the CPU, written down in a few kilobytes, and compared elsewhere:
//
//     network_step write NETWORK CLASSES BATCH FILE.json
//     network_step compare FILE.json BACKEND f32|bf16|f16
//
// A file holds, for the logits, the gradient of each parameter and the batch's statistics: the norm, and some elements.
// How far rounding may move them is measured, not guessed: `write` repeats the step from weights that are off by random
// roundings of each type. A network amplifies what happens early in it, and that shows how much. A step in the type
// itself rounds more often, each value of each layer: kFactor says how much more error is accepted.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/philox.h"
#include "base/run.h"
#include "net/graph.h"
#include "ops/executor.h"

namespace packhorse {
namespace {

// The error of independent roundings grows with the root of their number. A value of a layer is rounded up to four
// times (the product, normalised, and both again on the way back) where a weight is rounded once: 2 times. Twice that.
constexpr double kFactor = 4;
constexpr size_t kElements = 64;
constexpr float kLossScale = 1024;

struct Type {
  Dtype dtype;
  double rounding;  // the largest relative error of one
};
// f32 on a GPU adds in another order than on a CPU: a sum of 2^12 products is off by the root of it.
const std::map<std::string, Type> kTypes = {
    {"f32", {Dtype::f32, 0x1p-24 * 64}}, {"bf16", {Dtype::bf16, 0x1p-8}}, {"f16", {Dtype::f16, 0x1p-11}}};

using Tensors = std::map<std::string, std::vector<double>>;

struct Problem {
  std::string network;
  int64_t classes = 0, batch = 0;
};

// The step from the initial weights, each of them off by up to `shift` of its size.
Tensors step_of(const Problem& problem, const std::string& backend, Dtype dtype, double shift) {
  const int64_t size = problem.network == "inception-bn-small" ? 28 : 224;
  const Graph graph = make_network(problem.network, size, problem.classes);
  const bool scaled = dtype == Dtype::f16;
  Executor executor(graph, {.backend = backend,
                            .batch = problem.batch,
                            .dtype = dtype,
                            .threads = 2,
                            .scale = {1.0f / 64, 1.0f / 64, 1.0f / 64},
                            .loss_scale = scaled ? kLossScale : 0});
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  initialise(graph, 1, weights.data(), statistics.data());
  RandomStream off(1, RandomUse::test, 1, 0);
  for (float& weight : weights) weight *= 1 + static_cast<float>(shift) * off.uniform(-1, 1);
  executor.write("weights", weights);
  executor.write("statistics", statistics);
  HostArray<uint8_t> pixels(executor.device(), static_cast<size_t>(problem.batch * size * size * 3));
  HostArray<int32_t> labels(executor.device(), static_cast<size_t>(problem.batch));
  RandomStream random(1, RandomUse::test, 0, 0);
  // Images, and no noise: each has stripes of its own, so that means and edges differ.
  for (size_t i = 0; i < pixels.size(); ++i) {
    const size_t image = i / static_cast<size_t>(size * size * 3), x = i / 3 % static_cast<size_t>(size);
    const float wave = std::sin(static_cast<float>(x * (image + 1)) * 6.28f / static_cast<float>(size));
    pixels[i] = static_cast<uint8_t>(128 + 70 * wave + random.uniform(-40, 40));
  }
  for (int32_t& label : labels) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(problem.classes)));
  executor.step({.pixels = pixels.span(),
                 .labels = labels.span(),
                 .gradient_scale = 1.0f / static_cast<float>(problem.batch),
                 .learning_rate = 0.1});

  Tensors tensors;
  const auto keep = [&](const std::string& name, std::span<const float> values, double factor) {
    std::vector<double>& kept = tensors[name];
    for (const float value : values) kept.push_back(factor * value);
  };
  keep("logits", executor.logits().span(), 1);
  const HostView gradients = executor.state("gradients"), batch = executor.state("batch_statistics");
  for (const Parameter& p : graph.parameters)
    keep("gradient of " + p.name, gradients.span().subspan(p.offset, p.count), scaled ? 1 / kLossScale : 1);
  for (const Statistic& s : graph.statistics) keep("batch " + s.name, batch.span().subspan(s.offset, s.count), 1);
  return tensors;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}
// Elements spread over the tensor.
std::vector<double> some(const std::vector<double>& values) {
  std::vector<double> chosen(std::min(values.size(), kElements));
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = values[i * values.size() / chosen.size()];
  return chosen;
}
double distance(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm(a);
}

void write(const Problem& problem, const std::string& path) {
  const Tensors truth = step_of(problem, "cpu", Dtype::f32, 0);
  std::map<std::string, Tensors> moved;
  for (const auto& [name, type] : kTypes) moved[name] = step_of(problem, "cpu", Dtype::f32, type.rounding);
  Json tensors;
  for (const auto& [name, values] : truth) {
    Json& tensor = tensors[name] = {{"norm", norm(values)}, {"elements", some(values)}};
    for (const auto& [type, other] : moved)
      tensor["moves"][type] = distance(values, other.at(name)) / std::max(norm(values), 1e-30);
  }
  write_json(path, {{"network", problem.network},
                    {"classes", problem.classes},
                    {"batch", problem.batch},
                    {"tensors", std::move(tensors)}});
}

// Prints the worst tensor and those beyond the bound; returns how many those are.
int compare(const std::string& path, const std::string& backend, const std::string& type_name) {
  const Json file = read_json(path);
  const Problem problem{file.at("network"), file.at("classes"), file.at("batch")};
  const Tensors found = step_of(problem, backend, kTypes.at(type_name).dtype, 0);
  int bad = 0;
  double worst = 0, loosest = 0;
  std::string worst_name;
  for (const auto& [name, tensor] : file.at("tensors").items()) {
    const std::vector<double>& values = found.at(name);
    const std::vector<double> expected = tensor.at("elements");
    const double whole = tensor.at("norm"), moves = tensor.at("moves").at(type_name);
    // The chosen elements stand for all: their error is a part of the whole's, as many as they are of it.
    const double part = std::sqrt(static_cast<double>(expected.size()) / static_cast<double>(values.size()));
    const double bound = kFactor * std::max(moves, kTypes.at(type_name).rounding) * whole;
    const double error = std::max(distance(some(values), expected) / part, std::abs(norm(values) - whole)) / bound;
    loosest = std::max(loosest, bound / whole);
    if (!(error <= worst)) worst = error, worst_name = name;
    if (error <= 1) continue;
    ++bad;
    std::printf("  %s: off by %.2f of what rounding allows (%.2g of its norm)\n", name.c_str(), error, bound / whole);
  }
  std::printf(
      "%s, batch %ld, %s on %s: %zu tensors, %d beyond the bound (at most %.1g of a norm); the worst reaches %.2f of "
      "it (%s)\n",
      problem.network.c_str(), static_cast<long>(problem.batch), type_name.c_str(), backend.c_str(),
      file.at("tensors").size(), bad, loosest, worst, worst_name.c_str());
  return bad;
}

int run(const std::vector<std::string>& args) {
  if (args.size() == 5 && args[0] == "write") {
    write({args[1], std::stoll(args[2]), std::stoll(args[3])}, args[4]);
    return kExitOk;
  }
  if (args.size() == 4 && args[0] == "compare" && kTypes.contains(args[3]))
    return compare(args[1], args[2], args[3]) == 0 ? kExitOk : kExitFailure;
  std::fprintf(stderr,
               "usage: network_step write NETWORK CLASSES BATCH FILE.json\n"
               "       network_step compare FILE.json BACKEND f32|bf16|f16\n");
  return kExitUsage;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  return packhorse::run_stage([&] { return packhorse::run({argv + 1, argv + argc}); });
}

#include "ops/forward.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

int64_t count_of(const Graph& graph, LayerKind kind) {
  return std::count_if(graph.layers.begin(), graph.layers.end(),
                       [&](const Layer& layer) { return layer.kind == kind; });
}

void check(const Graph& graph) {
  const auto refuse = [&](const std::string& what) {
    throw Error({what, graph.name, "use a network that make_network() builds"});
  };
  if (graph.layers.empty() || graph.layers.back().kind != LayerKind::fully_connected)
    refuse("a network must end in a fully connected layer that gives the logits");
  if (count_of(graph, LayerKind::input) != 1 || count_of(graph, LayerKind::fully_connected) != 1 ||
      count_of(graph, LayerKind::global_average_pool) != 1)
    refuse("a network must have one input, one global average pool and one fully connected layer");
  const Layer& pool = graph.layers[static_cast<size_t>(graph.layers.back().inputs.front())];
  if (pool.kind != LayerKind::global_average_pool)
    refuse("the fully connected layer must read the global average pool");
}

class Lowering {
 public:
  Lowering(const Graph& graph, const ForwardOptions& options) : graph_(graph), options_(options) {
    readers_.resize(graph.layers.size());
    for (const Layer& layer : graph.layers)
      for (const int input : layer.inputs) ++readers_[static_cast<size_t>(input)];
    program_.name = graph.name + (training() ? " training" : " inference");
    weights_ = add_state(kWeights, graph.parameter_count);
    running_ = add_state(kRunning, graph.statistic_count);
    if (training()) batch_statistics_ = add_state(kBatchStatistics, graph.statistic_count);
  }

  Program run() {
    for (const Layer& layer : graph_.layers) result_.push_back(lower(layer));
    return std::move(program_);
  }

 private:
  bool training() const { return options_.phase == Phase::training; }

  int add_state(const char* name, size_t count) {
    return program_.add(
        {.name = name, .shape = {1, 1, 1, static_cast<int64_t>(count)}, .storage = Storage::state, .state = name});
  }
  Operand weight(int number, const char* role) const {
    const Parameter& p = graph_.parameters[static_cast<size_t>(number)];
    return {role, weights_, static_cast<int64_t>(p.offset), static_cast<int64_t>(p.count)};
  }
  Operand statistic(int number, const char* role) const {
    const Statistic& s = graph_.statistics[static_cast<size_t>(number)];
    return {role, training() ? batch_statistics_ : running_, static_cast<int64_t>(s.offset),
            static_cast<int64_t>(s.count)};
  }
  Operand input(const Layer& layer, size_t i, const char* role) const {
    return as(role, result_[static_cast<size_t>(layer.inputs[i])]);
  }

  Operand add_value(const std::string& name, Shape shape, Dtype dtype, const char* role) {
    shape.n = options_.batch;
    return program_.whole(program_.add({.name = name, .shape = shape, .dtype = dtype}), role);
  }
  Operand result(const Layer& layer) { return add_value(layer.name, layer.out, options_.dtype, "dst"); }
  Operand output(const char* name, const Layer& layer) {
    Operand operand = add_value(name, layer.out, Dtype::f32, "dst");
    program_.values.back().output = true;
    return operand;
  }
  Operand channels(const std::string& name, int64_t count, const char* role) {
    return program_.whole(program_.add({.name = name, .shape = {1, 1, 1, count}}), role);
  }

  // Appends a node; returns its first result.
  Operand add(const NodeKind& kind, const Layer& layer, std::vector<Operand> reads, std::vector<Operand> writes,
              std::map<std::string, double> numbers = {}) {
    Operand first = writes.front();
    program_.nodes.push_back({.kind = &kind,
                              .name = layer.name,
                              .reads = std::move(reads),
                              .writes = std::move(writes),
                              .numbers = std::move(numbers)});
    return first;
  }

  Operand lower(const Layer& layer) {
    const auto window = [&]() -> std::map<std::string, double> {
      return {{"kernel", layer.kernel}, {"stride", layer.stride}, {"pad", layer.pad}};
    };
    switch (layer.kind) {
      case LayerKind::input:
        return lower_input(layer);
      case LayerKind::convolution:
        return add(kConvolution, layer, {input(layer, 0, "src"), weight(layer.weight, "weight")}, {result(layer)},
                   window());
      case LayerKind::batch_norm:
        return lower_batch_norm(layer);
      case LayerKind::add:
        return lower_add(layer);
      case LayerKind::max_pool: {
        std::vector<Operand> results = {result(layer)};
        if (training()) results.push_back(add_value(layer.name + " argmax", layer.out, Dtype::u8, "argmax"));
        return add(kMaxPool, layer, {input(layer, 0, "src")}, results, window());
      }
      case LayerKind::average_pool:
        return add(kAveragePool, layer, {input(layer, 0, "src")}, {result(layer)}, window());
      case LayerKind::global_average_pool:
        return add(kGlobalPool, layer, {input(layer, 0, "src")}, {output("features", layer)});
      case LayerKind::concat:
        return lower_concat(layer);
      case LayerKind::fully_connected:
        return add(kFullyConnected, layer,
                   {input(layer, 0, "src"), weight(layer.weight, "weight"), weight(layer.bias, "bias")},
                   {output("logits", layer)});
    }
    throw Error({"a layer of this kind has no nodes", layer.name, ""});
  }

  Operand lower_input(const Layer& layer) {
    const int pixels = program_.add({.name = "pixels",
                                     .shape = {options_.batch, graph_.image_size, graph_.image_size, 3},
                                     .dtype = Dtype::u8,
                                     .storage = Storage::input});
    std::map<std::string, double> numbers;
    for (int c = 0; c < 3; ++c) {
      numbers["mean_" + std::to_string(c)] = options_.mean[c];
      numbers["scale_" + std::to_string(c)] = options_.scale[c];
    }
    return add(kInput, layer, {program_.whole(pixels, "pixels")}, {result(layer)}, numbers);
  }

  Operand lower_batch_norm(const Layer& layer) {
    const Operand src = input(layer, 0, "src");
    const Operand mean = statistic(layer.mean, "mean"), variance = statistic(layer.variance, "variance");
    if (training()) add(kStatistics, layer, {src}, {mean, variance});
    const Operand a = channels(layer.name + " a", layer.out.c, "a"), b = channels(layer.name + " b", layer.out.c, "b");
    const double count = static_cast<double>(program_.shape(src).pixels());
    add(kFinish, layer, {mean, variance, weight(layer.weight, "scale"), weight(layer.bias, "shift")}, {a, b},
        {{"epsilon", kBatchNormEpsilon}, {"count", count}});
    Operand dst = add(kApply, layer, {src, a, b}, {result(layer)}, {{"relu", layer.relu}});
    program_.nodes.back().in_place = {{"dst", "src"}};
    return dst;
  }

  Operand lower_add(const Layer& layer) {
    Operand dst =
        add(kAdd, layer, {input(layer, 0, "a"), input(layer, 1, "b")}, {result(layer)}, {{"relu", layer.relu}});
    program_.nodes.back().in_place = {{"dst", "a"}, {"dst", "b"}};
    return dst;
  }

  // Nodes that can write a range of channels may write into the whole.
  Operand lower_concat(const Layer& layer) {
    Operand whole = result(layer);
    int64_t channel = 0;
    for (const int number : layer.inputs) {
      const LayerKind kind = graph_.layers[static_cast<size_t>(number)].kind;
      const bool ranged = kind == LayerKind::batch_norm || kind == LayerKind::max_pool ||
                          kind == LayerKind::average_pool || kind == LayerKind::concat || kind == LayerKind::add;
      if (readers_[static_cast<size_t>(number)] != 1 || !ranged)
        throw Error(
            {"a concatenation can read only results that nothing else reads, of batch norm, add, pooling or "
             "another concatenation",
             layer.name, "build the network with GraphBuilder"});
      const Operand input = result_[static_cast<size_t>(number)];
      redirect(program_, input.value, part(whole, channel, input.count));
      channel += input.count;
    }
    return whole;
  }

  const Graph& graph_;
  const ForwardOptions& options_;
  Program program_;
  std::vector<int> readers_;     // by layer: how many layers read it
  std::vector<Operand> result_;  // by layer
  int weights_ = -1, running_ = -1, batch_statistics_ = -1;
};

}  // namespace

Program forward_program(const Graph& graph, const ForwardOptions& options) {
  check(graph);
  return Lowering(graph, options).run();
}

int value_named(const Program& program, const std::string& name) {
  for (size_t v = 0; v < program.values.size(); ++v)
    if (program.values[v].name == name) return static_cast<int>(v);
  throw Error({"there is no value '" + name + "'", program.name, ""});
}

}  // namespace packhorse

#include "ops/step.h"

#include <algorithm>
#include <utility>

#include "ops/backward.h"
#include "ops/nodes.h"
#include "ops/optimizers.h"

namespace packhorse {

namespace {

constexpr const char* kWordsState = "words";

// Puts a node behind the last one that touches the operand, and behind the sums that begin there already.
void insert_after_last_use(Program& program, const Operand& operand, Node node) {
  const auto touches = [&](const Node& other) {
    const auto same = [&](const Operand& o) { return overlap(o, operand); };
    return std::any_of(other.reads.begin(), other.reads.end(), same) ||
           std::any_of(other.writes.begin(), other.writes.end(), same);
  };
  const auto last = std::find_if(program.nodes.rbegin(), program.nodes.rend(), touches);
  const auto place = std::find_if(last.base(), program.nodes.end(), [](const Node& other) { return !other.is(kSum); });
  program.nodes.insert(place, std::move(node));
}

Node sum_node(const std::string& name, const Operand& src, int sums) {
  return {.kind = &kSum,
          .name = name,
          .reads = {as("src", src)},
          .writes = {{"dst", sums, src.first, src.count}},
          .in_place = {{"dst", "src"}},
          .pass = Pass::update};
}

void add_sum(Program& program, const std::string& state) {
  const Operand src = program.whole(program.last_version(state));
  insert_after_last_use(program, src, sum_node(state, src, program.next_version(state)));
}

// With loss scaling, the state's version that this step works with; else nothing.
void read_loss_scale(const Program& program, Node& node) {
  const int scale = program.first_version(kLossScaleState);
  if (scale >= 0) node.reads.push_back(program.whole(scale, kLossScaleState));
}

void add_loss(Program& program, const StepOptions& options) {
  if (options.loss_scaling)
    program.add({.name = kLossScaleState,
                 .shape = {1, 1, 1, kLossScaleWords},
                 .storage = Storage::state,
                 .state = kLossScaleState});
  const int labels = program.add(
      {.name = "labels", .shape = {1, 1, 1, options.forward.batch}, .dtype = Dtype::i32, .storage = Storage::input});
  const int words =
      program.add({.name = kWordsState, .shape = {1, 1, 1, kWords}, .storage = Storage::state, .state = kWordsState});
  program.nodes.push_back(
      {.kind = &kLoss,
       .name = "loss",
       .reads = {program.whole(value_named(program, "logits"), "logits"), program.whole(labels, "labels")},
       .writes = {program.whole(words, "result")},
       .numbers = {{"smoothing", options.label_smoothing}}});
  read_loss_scale(program, program.nodes.back());
}

void add_norm(Program& program) {
  const int squares = program.add({.name = "squares", .shape = {1, 1, 1, 1}, .dtype = Dtype::f64});
  program.nodes.push_back({.kind = &kNorm,
                           .name = "gradient",
                           .reads = {program.whole(program.last_version(kGradients), "gradient")},
                           .writes = {program.whole(squares, "squares")},
                           .pass = Pass::update});
  read_loss_scale(program, program.nodes.back());
}

// Without loss scaling, the loss alone decides: then a backend can compute the norm while it updates.
void add_finite(Program& program, const StepOptions& options) {
  const int finite = program.add({.name = "finite", .shape = {1, 1, 1, 1}, .dtype = Dtype::i32});
  program.nodes.push_back({.kind = &kFinite,
                           .name = "loss",
                           .reads = {program.whole(program.last_version(kWordsState), "words")},
                           .writes = {program.whole(finite, "finite")},
                           .pass = Pass::update});
  if (options.loss_scaling)
    program.nodes.back().reads.push_back(program.whole(value_named(program, "squares"), "squares"));
}

// One node for each parameter: its state's next version is complete when all of them have run.
void add_optimizer(Program& program, const Graph& graph, const StepOptions& options) {
  const Optimizer& optimizer = optimizer_named(options.optimizer);
  const int weights = program.last_version(kWeights), gradients = program.last_version(kGradients);
  const int finite = value_named(program, "finite"), new_weights = program.next_version(kWeights);
  std::vector<std::pair<int, int>> states;
  for (const std::string& state : optimizer.states) {
    const int old = program.add({.name = state,
                                 .shape = {1, 1, 1, static_cast<int64_t>(graph.parameter_count)},
                                 .storage = Storage::state,
                                 .state = state});
    states.emplace_back(old, program.next_version(state));
  }
  for (const Parameter& p : graph.parameters) {
    const auto range = [&](std::string role, int value) {
      return Operand{std::move(role), value, static_cast<int64_t>(p.offset), static_cast<int64_t>(p.count)};
    };
    Node node{.kind = optimizer.kind,
              .name = p.name,
              .reads = {range("weight", weights), range("gradient", gradients), program.whole(finite, "finite")},
              .writes = {range("new_weight", new_weights)},
              .numbers = {{"momentum", options.momentum}, {"decay", p.decay ? options.weight_decay : 0.0f}},
              .in_place = {{"new_weight", "weight"}},
              .pass = Pass::update};
    read_loss_scale(program, node);
    for (size_t s = 0; s < states.size(); ++s) {
      node.reads.push_back(range(optimizer.states[s], states[s].first));
      node.writes.push_back(range("new_" + optimizer.states[s], states[s].second));
      node.in_place.push_back({"new_" + optimizer.states[s], optimizer.states[s]});
    }
    program.nodes.push_back(std::move(node));
  }
}

void add_running_statistics(Program& program, const Graph& graph, const StepOptions& options) {
  const int batch = program.last_version(kBatchStatistics), running = program.last_version(kRunning);
  const int next = program.next_version(kRunning), finite = value_named(program, "finite");
  for (const Statistic& s : graph.statistics) {
    const auto range = [&](const char* role, int value) {
      return Operand{role, value, static_cast<int64_t>(s.offset), static_cast<int64_t>(s.count)};
    };
    program.nodes.push_back(
        {.kind = &kRunningStatistics,
         .name = s.name,
         .reads = {range("batch", batch), range("running", running), program.whole(finite, "finite")},
         .writes = {range("new_running", next)},
         .numbers = {{"momentum", options.statistics_momentum}, {"share", 1.0 / options.ranks}},
         .in_place = {{"new_running", "running"}},
         .pass = Pass::update});
  }
}

void add_loss_scale(Program& program, const StepOptions& options) {
  const int old = program.first_version(kLossScaleState), next = program.next_version(kLossScaleState);
  program.nodes.push_back(
      {.kind = &kLossScale,
       .name = "loss",
       .reads = {program.whole(old, "loss_scale"), program.whole(value_named(program, "finite"), "finite")},
       .writes = {program.whole(next, "new_loss_scale")},
       .numbers = {{"interval", options.loss_scale_interval}},
       .in_place = {{"new_loss_scale", "loss_scale"}},
       .pass = Pass::update});
}

void add_report(Program& program, const StepOptions& options) {
  program.nodes.push_back({.kind = &kReport,
                           .name = "step",
                           .reads = {program.whole(program.last_version(kWordsState), "words"),
                                     program.whole(value_named(program, "squares"), "squares"),
                                     program.whole(value_named(program, "finite"), "finite")},
                           .pass = Pass::update});
  if (options.loss_scaling)
    program.nodes.back().reads.push_back(program.whole(program.last_version(kLossScaleState), "loss_scale"));
}

// How many gradients the classifier has: the last ones (its weight, then its bias).
int64_t classifier_gradients(const Graph& graph) {
  const Parameter& weight = graph.parameters[static_cast<size_t>(graph.layers.back().weight)];
  return static_cast<int64_t>(graph.parameter_count - weight.offset);
}

}  // namespace

Program training_step(const Graph& graph, const StepOptions& options, std::span<const Rewrite> algebraic) {
  Program program = forward_program(graph, options.forward);
  for (const Rewrite rewrite : algebraic) rewrite(program);
  add_loss(program, options);

  add_backward(program);
  if (options.recompute) recompute_applies(program);

  // The sums over ranks start while backward still runs.
  add_gradient_sums(program, options.bucket_bytes, options.classifier_apart ? classifier_gradients(graph) : 0);
  add_sum(program, kBatchStatistics);
  add_sum(program, kWordsState);

  if (options.loss_scaling) add_norm(program);
  add_finite(program, options);
  add_optimizer(program, graph, options);
  if (!options.loss_scaling) add_norm(program);
  add_running_statistics(program, graph, options);
  if (options.loss_scaling) add_loss_scale(program, options);
  add_report(program, options);
  return program;
}

Program inference_program(const Graph& graph, ForwardOptions options, std::span<const Rewrite> algebraic) {
  options.phase = Phase::inference;
  Program program = forward_program(graph, options);
  for (const Rewrite rewrite : algebraic) rewrite(program);
  return program;
}

void add_gradient_sums(Program& program, size_t bucket_bytes, int64_t apart) {
  const Operand gradients = program.whole(program.last_version(kGradients));
  const int sums = program.next_version(kGradients);
  const auto length = static_cast<int64_t>(std::max<size_t>(1, bucket_bytes / sizeof(float)));
  int64_t end = gradients.count;
  for (int64_t number = 1; end > 0; ++number) {
    const int64_t first = std::max<int64_t>(0, end - (number == 1 && apart > 0 ? apart : length));
    const Operand bucket = part(gradients, first, end - first);
    insert_after_last_use(program, bucket, sum_node("gradients " + std::to_string(number), bucket, sums));
    end = first;
  }
}

}  // namespace packhorse

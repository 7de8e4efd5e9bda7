#include "ops/executor.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "ops/backends.h"
#include "ops/backward.h"
#include "ops/optimizers.h"

namespace packhorse {

namespace {

StepOptions step_options(const ExecutorOptions& options) {
  StepOptions step;
  step.forward.batch = options.batch;
  step.forward.dtype = options.dtype;
  std::copy(std::begin(options.mean), std::end(options.mean), step.forward.mean);
  std::copy(std::begin(options.scale), std::end(options.scale), step.forward.scale);
  step.recompute = options.recompute;
  step.label_smoothing = options.label_smoothing;
  step.statistics_momentum = options.statistics_momentum;
  step.optimizer = options.optimizer;
  step.momentum = options.momentum;
  step.weight_decay = options.weight_decay;
  step.ranks = options.ranks;
  return step;
}

std::vector<Rewrite> algebraic(const Backend& backend, const ExecutorOptions& options) {
  return options.merge_siblings ? backend.algebraic() : std::vector<Rewrite>{};
}

void check(const ExecutorOptions& options) {
  if (options.batch < 1)
    throw UsageError({"a batch needs at least one image, not " + std::to_string(options.batch), "batch",
                      "give a batch of 1 or more"});
  if (options.threads < 1)
    throw UsageError(
        {"the network needs at least one thread, not " + std::to_string(options.threads), "threads", "give 1 or more"});
}

CompiledProgram compile_step(const Graph& graph, const ExecutorOptions& options, Backend& backend, Program& refresh) {
  return compile(training_step(graph, step_options(options), algebraic(backend, options)), backend, refresh);
}

CompiledProgram compile_inference(const Graph& graph, const ExecutorOptions& options, Backend& backend,
                                  Program& refresh) {
  return compile(inference_program(graph, step_options(options).forward, algebraic(backend, options)), backend,
                 refresh);
}

// Bytes of states by the program's own account.
uint64_t state_bytes(const Program& program, const std::vector<std::string>& names, bool among) {
  uint64_t sum = 0;
  for (size_t v = 0; v < program.values.size(); ++v) {
    const Value& value = program.values[v];
    if (value.storage != Storage::state || program.first_version(value.state) != static_cast<int>(v)) continue;
    const bool named = std::find(names.begin(), names.end(), value.state) != names.end();
    if (named == among) sum += value.bytes();
  }
  return sum;
}

}  // namespace

CompiledProgram plan_step(const Graph& graph, const ExecutorOptions& options) {
  check(options);
  Program refresh;
  const auto backend = make_backend(options.backend, options.dtype, options.threads, true);
  return compile_step(graph, options, *backend, refresh);
}

MemoryReport memory_report(const CompiledProgram& step, const std::string& optimizer) {
  const std::vector<std::string>& arrays = optimizer_named(optimizer).states;
  return {.activations = step.plan.bytes - step.workspace_bytes,
          .activations_unplanned = step.plan.unplanned_bytes,
          .workspace = step.workspace_bytes,
          .parameters = state_bytes(step.program, arrays, false),
          .optimizer = state_bytes(step.program, arrays, true)};
}

struct Executor::Impl {
  Impl(Graph network, ExecutorOptions settings, Allreduce* lane, const std::vector<Graph>& also_infer);
  void check_pixels(const BoundProgram& program, std::span<const uint8_t> pixels, bool fewer) const;
  void check_labels(std::span<const int32_t> labels) const;

  Graph graph;
  ExecutorOptions options;
  std::unique_ptr<Backend> backend;
  States states;
  DeviceArray<std::byte> slab;
  std::unique_ptr<BoundProgram> training, refresh;
  std::vector<std::unique_ptr<BoundProgram>> inference;  // by size
  const BoundProgram* last = nullptr;                    // the program that ran last
};

Executor::Impl::Impl(Graph network, ExecutorOptions settings, Allreduce* lane, const std::vector<Graph>& also_infer)
    : graph(std::move(network)), options(std::move(settings)), states(host_device()) {
  check(options);
  backend = make_backend(options.backend, options.dtype, options.threads, options.training);
  Program copies{.name = "refresh"};
  std::vector<CompiledProgram> compiled;
  if (options.training) compiled.push_back(compile_step(graph, options, *backend, copies));
  compiled.push_back(compile_inference(graph, options, *backend, copies));
  for (const Graph& other : also_infer) compiled.push_back(compile_inference(other, options, *backend, copies));
  Program none;
  compiled.push_back(compile(std::move(copies), *backend, none));
  uint64_t bytes = 0;
  for (const CompiledProgram& one : compiled) {
    states.add(one.program);
    bytes = std::max(bytes, one.plan.bytes);
  }
  slab = DeviceArray<std::byte>(host_device(), bytes);
  for (size_t i = 0; i < compiled.size(); ++i) {
    auto bound =
        std::make_unique<BoundProgram>(std::move(compiled[i]), *backend, states, slab.data(), lane, options.profile);
    if (i == 0 && options.training)
      training = std::move(bound);
    else if (i + 1 == compiled.size())
      refresh = std::move(bound);
    else
      inference.push_back(std::move(bound));
  }
  last = inference.front().get();
}

void Executor::Impl::check_pixels(const BoundProgram& program, std::span<const uint8_t> pixels, bool fewer) const {
  const Program& known = program.compiled().program;
  const Value& value = known.value(value_named(known, "pixels"));
  const auto batch = static_cast<size_t>(value.shape.count()), image = batch / static_cast<size_t>(value.shape.n);
  if (pixels.size() == batch || (fewer && pixels.size() < batch && pixels.size() % image == 0)) return;
  throw UsageError({"a batch has " + std::to_string(pixels.size()) + " bytes of pixels, not " + std::to_string(batch),
                    graph.name, "fill the batch to the size that the executor was made for"});
}

void Executor::Impl::check_labels(std::span<const int32_t> labels) const {
  if (labels.size() != static_cast<size_t>(options.batch))
    throw UsageError({"a batch has " + std::to_string(labels.size()) + " labels, not " + std::to_string(options.batch),
                      graph.name, "give one label per image, -1 for none"});
  for (const int32_t label : labels)
    if (label >= graph.classes)
      throw UsageError({"label " + std::to_string(label) + " is too large for a network with " +
                            std::to_string(graph.classes) + " classes",
                        "a batch", "use shards and a network with the same classes"});
}

Executor::Executor(const Graph& graph, const ExecutorOptions& options, Allreduce* sums,
                   const std::vector<Graph>& also_infer)
    : impl_(std::make_unique<Impl>(graph, options, sums, also_infer)) {}
Executor::~Executor() = default;

const Graph& Executor::graph() const { return impl_->graph; }
std::string Executor::backend() const { return impl_->backend->name(); }
const Program& Executor::training_program() const { return impl_->training->compiled().program; }
const Program& Executor::inference_program() const { return impl_->inference.front()->compiled().program; }

MemoryReport Executor::memory() const {
  const BoundProgram& largest = impl_->training != nullptr ? *impl_->training : *impl_->inference.front();
  MemoryReport report = memory_report(largest.compiled(), impl_->options.optimizer);
  report.parameters = impl_->states.bytes() - report.optimizer;
  return report;
}

std::span<float> Executor::state(const std::string& name) {
  return {reinterpret_cast<float*>(impl_->states.address(name)), impl_->states.bytes(name) / sizeof(float)};
}

void Executor::refresh() {
  impl_->backend->enter();
  impl_->refresh->run({});
}

StepReport Executor::step(StepCall call) {
  Impl& m = *impl_;
  if (m.training == nullptr)
    throw UsageError(
        {"an executor made for inference cannot run a training step", m.graph.name, "make it with training = true"});
  m.check_pixels(*m.training, call.pixels, false);
  m.check_labels(call.labels);
  StepReport report;
  call.report = &report;
  m.backend->enter();
  m.training->run(call);
  m.last = m.training.get();
  return report;
}

std::span<const float> Executor::infer(std::span<const uint8_t> pixels, size_t size) {
  Impl& m = *impl_;
  BoundProgram& program = *m.inference.at(size);
  m.check_pixels(program, pixels, true);
  m.backend->enter();
  program.run({.pixels = pixels});
  m.last = &program;
  return logits();
}

std::span<const float> Executor::features() { return impl_->last->floats("features"); }
std::span<const float> Executor::logits() { return impl_->last->floats("logits"); }
std::span<const NodeTime> Executor::times() const {
  return impl_->training != nullptr ? impl_->training->times() : impl_->inference.front()->times();
}

}  // namespace packhorse

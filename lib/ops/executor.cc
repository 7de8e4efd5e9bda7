#include "ops/executor.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "device/host.h"
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
  step.loss_scaling = options.loss_scale > 0;
  step.loss_scale_interval = options.loss_scale_interval;
  step.ranks = options.ranks;
  return step;
}

BackendOptions backend_options(const ExecutorOptions& options) {
  return {.dtype = options.dtype,
          .threads = options.threads,
          .training = options.training,
          .device = options.device,
          .deterministic = options.deterministic,
          .measure = options.measure,
          .choices = options.choices};
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
  return compile(training_step(graph, step_options(options), algebraic(backend, options)), backend, refresh,
                 options.beside || backend.prefers_side_lane());
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
  const auto backend = make_backend(options.backend, backend_options(options));
  return compile_step(graph, options, *backend, refresh);
}

Choices measured_choices(const Graph& graph, ExecutorOptions options) {
  check(options);
  options.measure = true;
  Program refresh;
  const auto backend = make_backend(options.backend, backend_options(options));
  if (backend->device().is_host()) return {};  // there is one way
  compile_step(graph, options, *backend, refresh);
  return backend->choices();
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
  Impl(Graph network, ExecutorOptions settings, const SumsOn& sums_on, const std::vector<Graph>& also_infer);
  ~Impl();
  void check_pixels(const BoundProgram& program, std::span<const uint8_t> pixels, bool fewer) const;
  void check_labels(std::span<const int32_t> labels) const;
  int64_t image_bytes(const BoundProgram& program) const;
  void refresh_copies();
  void write(const std::string& name, std::span<const float> numbers);
  void drain() { lanes.of(Lane::main).synchronize(); }
  HostView view(DeviceAddress address, uint64_t bytes);
  HostView result(const char* name);

  /// What a run needs until its end.
  struct Flight {
    StepCall call;
    std::unique_ptr<Event> end;
  };

  Graph graph;
  ExecutorOptions options;
  std::unique_ptr<Backend> backend;
  Device& device;
  std::unique_ptr<Allreduce> sums;
  LaneStreams lanes;
  States states;
  DeviceMemory slab;
  std::unique_ptr<BoundProgram> training, refresh;
  std::vector<std::unique_ptr<BoundProgram>> inference;  // by size
  std::unique_ptr<InputSlots> inputs;
  HostArray<StepReport> reports;              // by flight
  std::array<Flight, kMostInFlight> flights;  // of steps, in turns
  size_t enqueued = 0, collected = 0;         // steps
  StepCall inference_call, refresh_call;
  bool copies_are_old = true;          // the weights have changed since the copies were made
  const BoundProgram* last = nullptr;  // the program that ran last
  HostArray<float> logits;             // of the last infer(), on a device that is not the host
};

Executor::Impl::Impl(Graph network, ExecutorOptions settings, const SumsOn& sums_on,
                     const std::vector<Graph>& also_infer)
    : graph(std::move(network)),
      options((check(settings), std::move(settings))),
      backend(make_backend(options.backend, backend_options(options))),
      device(backend->device()),
      sums(sums_on ? sums_on(device) : nullptr),
      lanes(device, options.beside, sums.get()),
      states(device),
      reports(device, kMostInFlight) {
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
  slab = DeviceMemory(device, bytes);
  int64_t pixel_bytes = 0;
  for (size_t i = 0; i < compiled.size(); ++i) {
    auto bound = std::make_unique<BoundProgram>(std::move(compiled[i]), *backend, states, slab.address(), lanes,
                                                options.profile);
    if (i + 1 == compiled.size()) {
      refresh = std::move(bound);
      continue;
    }
    pixel_bytes = std::max(pixel_bytes, image_bytes(*bound) * options.batch);
    if (i == 0 && options.training)
      training = std::move(bound);
    else
      inference.push_back(std::move(bound));
  }
  inputs = std::make_unique<InputSlots>(device, lanes, kMostInFlight, static_cast<size_t>(pixel_bytes),
                                        static_cast<size_t>(options.batch));
  for (Flight& flight : flights) flight.end = device.make_event();
  if (!device.is_host()) logits = HostArray<float>(device, static_cast<size_t>(options.batch * graph.classes));
  if (options.training && options.loss_scale > 0) write(kLossScaleState, std::array{options.loss_scale, 0.0f});
  last = inference.front().get();
}

// What is enqueued still works on the memory that is freed now. Its failure has reached whoever waited for it.
Executor::Impl::~Impl() {
  for (const Lane lane : {Lane::copies, Lane::side, Lane::sums, Lane::main}) {
    try {
      lanes.of(lane).synchronize();
    } catch (...) {
      continue;
    }
  }
}

int64_t Executor::Impl::image_bytes(const BoundProgram& program) const {
  const Program& known = program.compiled().program;
  return known.value(value_named(known, "pixels")).shape.count() / options.batch;
}

void Executor::Impl::check_pixels(const BoundProgram& program, std::span<const uint8_t> pixels, bool fewer) const {
  const auto image = static_cast<size_t>(image_bytes(program)), batch = image * static_cast<size_t>(options.batch);
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

void Executor::Impl::write(const std::string& name, std::span<const float> numbers) {
  if (states.bytes(name) != numbers.size_bytes() || numbers.empty())
    throw Error({"there is no state '" + name + "' of " + std::to_string(numbers.size()) + " numbers", graph.name,
                 "give a number for each parameter or statistic of this network"});
  Stream& main = lanes.of(Lane::main);
  main.write(states.address(name), std::as_bytes(numbers));
  main.synchronize();
  copies_are_old = true;
}

void Executor::Impl::refresh_copies() {
  if (!copies_are_old) return;
  refresh->enqueue(refresh_call);
  copies_are_old = false;
}

HostView Executor::Impl::view(DeviceAddress address, uint64_t bytes) {
  if (!address) return {};
  const size_t count = bytes / sizeof(float);
  Stream& main = lanes.of(Lane::main);
  if (device.is_host()) {
    main.synchronize();
    return HostView({address.as<const float>(), count});
  }
  HostArray<float> copy(device, count);
  main.read(std::as_writable_bytes(copy.span()), address);
  main.synchronize();
  return HostView(std::move(copy));
}

HostView Executor::Impl::result(const char* name) {
  const Program& program = last->compiled().program;
  const int number = value_named(program, name);
  return view(last->address(number), program.value(number).bytes());
}

Executor::Executor(const Graph& graph, const ExecutorOptions& options, const SumsOn& sums,
                   const std::vector<Graph>& also_infer)
    : impl_(std::make_unique<Impl>(graph, options, sums, also_infer)) {}
Executor::~Executor() = default;

const Graph& Executor::graph() const { return impl_->graph; }
Dtype Executor::dtype() const { return impl_->options.dtype; }
Choices Executor::choices() const { return impl_->backend->choices(); }
std::string Executor::backend() const { return impl_->backend->name(); }
std::string Executor::backend_description() const { return impl_->backend->description(); }
Device& Executor::device() const { return impl_->device; }
const Program& Executor::training_program() const { return impl_->training->compiled().program; }
const Program& Executor::inference_program() const { return impl_->inference.front()->compiled().program; }

MemoryReport Executor::memory() const {
  const BoundProgram& largest = impl_->training != nullptr ? *impl_->training : *impl_->inference.front();
  MemoryReport report = memory_report(largest.compiled(), impl_->options.optimizer);
  report.parameters = impl_->states.bytes() - report.optimizer;
  return report;
}

HostView Executor::state(const std::string& name) {
  return impl_->view(impl_->states.address(name), impl_->states.bytes(name));
}

void Executor::write(const std::string& name, std::span<const float> numbers) { impl_->write(name, numbers); }

void Executor::enqueue(const StepInput& input) {
  Impl& m = *impl_;
  if (m.training == nullptr)
    throw UsageError(
        {"an executor made for inference cannot run a training step", m.graph.name, "make it with training = true"});
  m.check_pixels(*m.training, input.pixels, false);
  m.check_labels(input.labels);
  if (in_flight() == kMostInFlight)
    throw Error({"two steps are in flight already", m.graph.name, "collect the report of the first one"});
  m.refresh_copies();
  const size_t number = m.enqueued % kMostInFlight;
  Impl::Flight& flight = m.flights[number];
  flight.call = m.inputs->enter(input, m.image_bytes(*m.training));
  m.reports[number] = {};
  flight.call.report = &m.reports[number];
  m.training->enqueue(flight.call);
  m.inputs->leave();
  m.lanes.of(Lane::main).record(*flight.end);
  m.last = m.training.get();
  ++m.enqueued;
}

Event& Executor::input_taken() { return impl_->inputs->taken(); }
size_t Executor::in_flight() const { return impl_->enqueued - impl_->collected; }
bool Executor::works_beside() const { return impl_->options.beside || !impl_->device.is_host(); }

StepReport Executor::collect() {
  Impl& m = *impl_;
  if (in_flight() == 0) throw Error({"no step is in flight", m.graph.name, "enqueue a step first"});
  const size_t number = m.collected++ % kMostInFlight;
  m.flights[number].end->synchronize();
  return m.reports[number];
}

StepReport Executor::step(const StepInput& input) {
  enqueue(input);
  return collect();
}

std::span<const float> Executor::infer(std::span<const uint8_t> pixels, size_t size) {
  Impl& m = *impl_;
  BoundProgram& program = *m.inference.at(size);
  m.check_pixels(program, pixels, true);
  m.refresh_copies();
  m.drain();  // the call of the run before is free again
  m.inference_call = m.inputs->enter({.pixels = pixels}, m.image_bytes(program));
  program.enqueue(m.inference_call);
  m.inputs->leave();
  m.last = &program;
  const DeviceAddress address = program.address(value_named(program.compiled().program, "logits"));
  const auto count = static_cast<size_t>(m.options.batch * m.graph.classes);
  Stream& main = m.lanes.of(Lane::main);
  if (!m.device.is_host()) main.read(std::as_writable_bytes(m.logits.span()), address);
  main.synchronize();
  return m.device.is_host() ? std::span(address.as<const float>(), count) : m.logits.span();
}

HostView Executor::features() { return impl_->result("features"); }
HostView Executor::logits() { return impl_->result("logits"); }

std::vector<NodeTime> Executor::times() {
  // A stream knows its nodes' times when it is done; the main one has waited for the others, but they have not looked.
  for (const Lane lane : {Lane::copies, Lane::side, Lane::sums, Lane::main}) impl_->lanes.of(lane).synchronize();
  return impl_->training != nullptr ? impl_->training->times() : impl_->inference.front()->times();
}

void initialise(Executor& executor, uint64_t seed) {
  const Graph& graph = executor.graph();
  std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
  initialise(graph, seed, weights.data(), statistics.data());
  executor.write(kWeights, weights);
  executor.write(kRunning, statistics);
}

}  // namespace packhorse

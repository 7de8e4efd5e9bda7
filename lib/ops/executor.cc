#include "ops/executor.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "device/array.h"
#include "ops/backends.h"
#include "ops/memory_plan.h"
#include "ops/schedule.h"

namespace packhorse {

struct Executor::Impl {
  Impl(Graph network, ExecutorOptions settings);
  void make_operations();
  std::unique_ptr<Operation> make_operation(size_t t);
  void plan_readiness();
  void check_pixels(std::span<const uint8_t> pixels, bool fewer) const;

  const Tensor& tensor(int number) const { return schedule.tensors[static_cast<size_t>(number)]; }
  View view(int number, const std::vector<int>& buffers);
  View activation(int number) { return view(number, plan.activation); }
  View gradient(int number) { return options.training ? view(number, plan.gradient) : View{}; }
  Gradient source_gradient(size_t t, size_t i);
  float* parameter(int number) { return parameters.data() + graph.parameters[static_cast<size_t>(number)].offset; }
  float* parameter_gradient(int number) {
    return options.training ? gradients.data() + graph.parameters[static_cast<size_t>(number)].offset : nullptr;
  }
  float* statistic(DeviceArray<float>& array, int number) {
    return array.data() == nullptr ? nullptr : array.data() + graph.statistics[static_cast<size_t>(number)].offset;
  }

  Graph graph;
  ExecutorOptions options;
  Schedule schedule;
  MemoryPlan plan;
  std::unique_ptr<Backend> backend;
  DeviceArray<std::byte> arena;
  DeviceArray<float> parameters, gradients, statistics, batch_statistics;
  DeviceArray<float> features, features_grad;  // (N, C)
  DeviceArray<float> logits, logits_grad;      // (N, classes)
  std::unique_ptr<Input> input;
  std::unique_ptr<Loss> loss;
  std::vector<std::unique_ptr<Operation>> operations;  // by task
  std::vector<TaskTime> times;                         // by task
  std::vector<size_t> ready_from;                      // by task: gradients from here on are final after its backward
};

namespace {

// Runs `work` and, if `measure`, adds the time it took to `seconds`.
template <typename Work>
void timed(bool measure, double& seconds, const Work& work) {
  if (!measure) return work();
  const Stopwatch clock;
  work();
  seconds += clock.seconds();
}

int64_t count_of(const Graph& graph, NodeKind kind) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) { return node.kind == kind; });
}

void check(const Graph& graph, const ExecutorOptions& options) {
  const auto refuse = [&](const std::string& what) {
    throw Error({what, graph.name, "use a network that make_network() builds"});
  };
  if (graph.nodes.empty() || graph.nodes.back().kind != NodeKind::fully_connected)
    refuse("a network must end in a fully connected layer that gives the logits");
  if (count_of(graph, NodeKind::input) != 1 || count_of(graph, NodeKind::fully_connected) != 1 ||
      count_of(graph, NodeKind::global_average_pool) != 1)
    refuse("a network must have one input, one global average pool and one fully connected layer");
  const Node& pool = graph.nodes[static_cast<size_t>(graph.nodes.back().inputs.front())];
  if (pool.kind != NodeKind::global_average_pool) refuse("the fully connected layer must read the global average pool");
  if (options.batch < 1)
    throw UsageError({"a batch needs at least one image, not " + std::to_string(options.batch), "batch",
                      "give a batch of 1 or more"});
  if (options.threads < 1)
    throw UsageError(
        {"the network needs at least one thread, not " + std::to_string(options.threads), "threads", "give 1 or more"});
}

}  // namespace

Executor::Impl::Impl(Graph network, ExecutorOptions settings)
    : graph(std::move(network)), options(std::move(settings)) {
  check(graph, options);
  if (options.backend.empty()) options.backend = backend_names().front();
  backend = make_backend(options.backend, options.dtype, options.threads, options.training);
  schedule = make_schedule(graph, options.merge_siblings && merges_siblings(options.backend));
  plan = plan_memory(
      schedule,
      {.batch = options.batch, .dtype = options.dtype, .training = options.training, .recompute = options.recompute});
  const auto pooled =
      static_cast<size_t>(options.batch * graph.nodes[static_cast<size_t>(graph.nodes.back().inputs.front())].out.c);
  const auto scores = static_cast<size_t>(options.batch * graph.classes);
  const Device device = host_device();
  arena = DeviceArray<std::byte>(device, plan.bytes);
  parameters = DeviceArray<float>(device, graph.parameter_count);
  statistics = DeviceArray<float>(device, graph.statistic_count);
  features = DeviceArray<float>(device, pooled);
  logits = DeviceArray<float>(device, scores);
  if (options.training) {
    gradients = DeviceArray<float>(device, graph.parameter_count);
    batch_statistics = DeviceArray<float>(device, graph.statistic_count);
    features_grad = DeviceArray<float>(device, pooled);
    logits_grad = DeviceArray<float>(device, scores);
  }
  make_operations();
  if (options.training) plan_readiness();
}

View Executor::Impl::view(int number, const std::vector<int>& buffers) {
  const Tensor& t = tensor(number);
  const Shape& whole = schedule.buffers[static_cast<size_t>(t.buffer)];
  const int planned = buffers[static_cast<size_t>(t.buffer)];
  View result{.data = nullptr,
              .shape = {options.batch, t.shape.h, t.shape.w, t.shape.c},
              .pixel_stride = whole.c,
              .dtype = options.dtype};
  if (planned >= 0)
    result.data = arena.data() + plan.buffers[static_cast<size_t>(planned)].offset +
                  static_cast<uint64_t>(t.channel) * size_of(options.dtype);
  return result;
}

Gradient Executor::Impl::source_gradient(size_t t, size_t i) {
  if (!options.training) return {};
  const Write write = plan.source_write[t][i];
  if (write == Write::none) return {};
  return {.view = gradient(schedule.tasks[t].src[i]), .accumulate = write == Write::accumulate};
}

std::unique_ptr<Operation> Executor::Impl::make_operation(size_t t) {
  const Task& task = schedule.tasks[t];
  const int src = task.src.front();
  switch (task.kind) {
    case NodeKind::convolution:
      return backend->make(ConvolutionTask{.name = task.name,
                                           .src = activation(src),
                                           .dst = activation(task.dst),
                                           .src_grad = source_gradient(t, 0),
                                           .dst_grad = gradient(task.dst),
                                           .kernel = task.kernel,
                                           .stride = task.stride,
                                           .pad = task.pad,
                                           .weight = parameter(task.weight),
                                           .weight_grad = parameter_gradient(task.weight)});
    case NodeKind::batch_norm:
      return backend->make(BatchNormTask{.src = activation(src),
                                         .dst = activation(task.dst),
                                         .src_grad = source_gradient(t, 0),
                                         .dst_grad = gradient(task.dst),
                                         .relu = task.relu,
                                         .scale = parameter(task.weight),
                                         .shift = parameter(task.bias),
                                         .scale_grad = parameter_gradient(task.weight),
                                         .shift_grad = parameter_gradient(task.bias),
                                         .running_mean = statistic(statistics, task.mean),
                                         .running_variance = statistic(statistics, task.variance),
                                         .batch_mean = statistic(batch_statistics, task.mean),
                                         .batch_variance = statistic(batch_statistics, task.variance)});
    case NodeKind::add:
      return backend->make(AddTask{.a = activation(src),
                                   .b = activation(task.src[1]),
                                   .dst = activation(task.dst),
                                   .a_grad = source_gradient(t, 0),
                                   .b_grad = source_gradient(t, 1),
                                   .dst_grad = gradient(task.dst),
                                   .relu = task.relu});
    case NodeKind::max_pool:
    case NodeKind::average_pool: {
      uint8_t* argmax = nullptr;
      if (plan.argmax[t] >= 0)
        argmax = reinterpret_cast<uint8_t*>(arena.data() + plan.buffers[static_cast<size_t>(plan.argmax[t])].offset);
      return backend->make(PoolTask{.maximum = task.kind == NodeKind::max_pool,
                                    .kernel = task.kernel,
                                    .stride = task.stride,
                                    .pad = task.pad,
                                    .src = activation(src),
                                    .dst = activation(task.dst),
                                    .src_grad = source_gradient(t, 0),
                                    .dst_grad = gradient(task.dst),
                                    .argmax = argmax});
    }
    case NodeKind::global_average_pool:
      return backend->make(GlobalPoolTask{.src = activation(src),
                                          .src_grad = source_gradient(t, 0),
                                          .dst = features.data(),
                                          .dst_grad = features_grad.data()});
    case NodeKind::fully_connected:
      return backend->make(FullyConnectedTask{.name = task.name,
                                              .dtype = options.dtype,
                                              .n = options.batch,
                                              .c = tensor(src).shape.c,
                                              .o = graph.classes,
                                              .src = features.data(),
                                              .src_grad = features_grad.data(),
                                              .dst = logits.data(),
                                              .dst_grad = logits_grad.data(),
                                              .weight = parameter(task.weight),
                                              .bias = parameter(task.bias),
                                              .weight_grad = parameter_gradient(task.weight),
                                              .bias_grad = parameter_gradient(task.bias)});
    case NodeKind::input:
    case NodeKind::concat:
      break;
  }
  throw Error({"a node of this kind cannot be a task", task.name, ""});
}

void Executor::Impl::make_operations() {
  operations.reserve(schedule.tasks.size());
  times.reserve(schedule.tasks.size());
  for (size_t t = 0; t < schedule.tasks.size(); ++t) {
    operations.push_back(make_operation(t));
    times.push_back({.name = schedule.tasks[t].name, .kind = schedule.tasks[t].kind});
  }
  InputTask first{.dst = activation(schedule.input)};
  std::copy(std::begin(options.mean), std::end(options.mean), first.mean.begin());
  std::copy(std::begin(options.scale), std::end(options.scale), first.scale.begin());
  input = backend->make(first);
  if (options.training)
    loss = backend->make(LossTask{.n = options.batch,
                                  .classes = graph.classes,
                                  .label_smoothing = options.label_smoothing,
                                  .logits = logits.data(),
                                  .logits_grad = logits_grad.data()});
  backend->ready();
}

// Backward runs from the last task to the first. Final is everything after the last parameter that an earlier task
// still has to complete.
void Executor::Impl::plan_readiness() {
  ready_from.resize(schedule.tasks.size());
  size_t open = 0;
  for (size_t t = 0; t < schedule.tasks.size(); ++t) {
    ready_from[t] = open;
    for (const int p : schedule.tasks[t].parameters) {
      const Parameter& parameter_done = graph.parameters[static_cast<size_t>(p)];
      open = std::max(open, parameter_done.offset + parameter_done.count);
    }
  }
}

void Executor::Impl::check_pixels(std::span<const uint8_t> pixels, bool fewer) const {
  const auto image = static_cast<size_t>(graph.image_size * graph.image_size * 3);
  const size_t batch = static_cast<size_t>(options.batch) * image;
  if (pixels.size() == batch || (fewer && pixels.size() < batch && pixels.size() % image == 0)) return;
  throw UsageError({"a batch has " + std::to_string(pixels.size()) + " bytes of pixels, not " + std::to_string(batch),
                    graph.name, "fill the batch to the size that the executor was made for"});
}

Executor::Executor(const Graph& graph, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(graph, options)) {}
Executor::~Executor() = default;

const Graph& Executor::graph() const { return impl_->graph; }
std::string Executor::backend() const { return impl_->backend->name(); }

MemoryReport Executor::memory() const {
  const Impl& m = *impl_;
  const uint64_t small = m.features.bytes() + m.features_grad.bytes() + m.logits.bytes() + m.logits_grad.bytes();
  return {.activations = m.plan.bytes + small,
          .activations_unplanned = m.plan.unplanned_bytes + small,
          .parameters = m.parameters.bytes() + m.gradients.bytes() + m.statistics.bytes() + m.batch_statistics.bytes() +
                        m.backend->packed_bytes(),
          .workspace = m.backend->workspace_bytes()};
}

std::span<float> Executor::parameters() { return impl_->parameters.span(); }
std::span<float> Executor::gradients() { return impl_->gradients.span(); }
std::span<float> Executor::statistics() { return impl_->statistics.span(); }
std::span<float> Executor::batch_statistics() { return impl_->batch_statistics.span(); }
std::span<const float> Executor::features() { return impl_->features.span(); }
std::span<const TaskTime> Executor::times() const { return impl_->times; }
std::span<const float> Executor::logits() { return impl_->logits.span(); }

void Executor::parameters_changed() {
  impl_->backend->enter();
  for (const auto& operation : impl_->operations) operation->parameters_changed();
}

BatchResult Executor::step(std::span<const uint8_t> pixels, std::span<const int32_t> labels, float gradient_scale,
                           const std::function<void(size_t first)>& ready) {
  Impl& m = *impl_;
  if (!m.options.training)
    throw UsageError(
        {"an executor made for inference cannot run a training step", m.graph.name, "make it with training = true"});
  m.check_pixels(pixels, false);
  if (labels.size() != static_cast<size_t>(m.options.batch))
    throw UsageError(
        {"a batch has " + std::to_string(labels.size()) + " labels, not " + std::to_string(m.options.batch),
         m.graph.name, "give one label per image, -1 for none"});
  m.backend->enter();
  m.input->run(pixels);
  const bool measure = m.options.profile;
  for (size_t t = 0; t < m.operations.size(); ++t)
    timed(measure, m.times[t].forward, [&] { m.operations[t]->forward(Phase::training); });
  const BatchResult result = m.loss->run(labels, gradient_scale);
  size_t reported = m.gradients.size();
  for (size_t t = m.operations.size(); t-- > 0;) {
    for (const int recomputed : m.plan.recompute[t]) {
      const auto a = static_cast<size_t>(recomputed);
      timed(measure, m.times[a].backward, [&] { m.operations[a]->recompute(); });
    }
    timed(measure, m.times[t].backward, [&] { m.operations[t]->backward(); });
    if (ready && m.ready_from[t] < reported) ready(reported = m.ready_from[t]);
  }
  return result;
}

void Executor::update_statistics(float batch_scale) {
  const std::span<float> running = statistics();
  const std::span<const float> batch = batch_statistics();
  const float keep = impl_->options.statistics_momentum, take = (1 - keep) * batch_scale;
  for (size_t i = 0; i < batch.size(); ++i) running[i] = keep * running[i] + take * batch[i];
}

std::span<const float> Executor::infer(std::span<const uint8_t> pixels) {
  Impl& m = *impl_;
  m.check_pixels(pixels, true);
  m.backend->enter();
  m.input->run(pixels);
  for (const auto& operation : m.operations) operation->forward(Phase::inference);
  return m.logits.span();
}

}  // namespace packhorse

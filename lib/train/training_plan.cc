#include <algorithm>

#include <fmt/core.h>

#include "base/text.h"
#include "ops/backends.h"
#include "ops/executor.h"
#include "ops/nodes.h"
#include "train/training_run.h"

namespace packhorse {
namespace {

/// Multiply-adds per second and core in a whole training step. Only the estimated time depends on it. oneDNN reached
/// about this on cores with AVX-512 (tests/bench/RESULTS.md, inception-bn-21k: images/s * GMAC * 3 / threads).
constexpr double macs_per_core(Dtype dtype) { return dtype == Dtype::bf16 ? 90e9 : 45e9; }
/// The backward pass computes two products (gradients with weights, and with activations) for each one of the forward
/// pass.
constexpr double kTrainingFactor = 3;

/// A line for each forward node that has weights, and for each pool.
std::string layer_table(const Program& program) {
  std::string table = fmt::format("{:<16} {:>14} {:>12} {:>8}  {}", "node", "output", "weights", "MMAC", "layer");
  for (const Node& node : program.nodes) {
    const Operand* weight = node.find("weight");
    const bool pool = node.is(kMaxPool) || node.is(kAveragePool) || node.is(kGlobalPool);
    if (node.pass != Pass::forward || (weight == nullptr && !pool)) continue;
    const Shape shape = program.shape(node.at("dst"));
    const double macs = static_cast<double>(macs_of(program, node)) / static_cast<double>(shape.n);
    table += fmt::format("\n{:<16} {:>14} {:>12} {:>8}  {}", node.kind->name,
                         fmt::format("{}x{}x{}", shape.h, shape.w, shape.c),
                         weight == nullptr ? "" : grouped(static_cast<uint64_t>(weight->count)),
                         weight == nullptr ? "" : fmt::format("{:.1f}", macs * 1e-6), node.name);
  }
  return table;
}

}  // namespace

StagePlan planned(const TrainingJob& job, uint64_t training_records, uint64_t validation_records, int ranks) {
  const TrainingSettings& settings = job.settings;
  BatchPlan plan{training_records, static_cast<uint64_t>(settings.global_batch), ranks, 0};
  plan.check(true);
  const Graph graph = make_network(settings.network, settings.image_size, job.classes);
  const ExecutorOptions options = settings.executor(plan, job.threads);
  const std::string backend = options.backend.empty() ? backend_names().front() : options.backend;
  const CompiledProgram step = plan_step(graph, options);
  const MemoryReport memory = memory_report(step, options.optimizer);

  const auto per_epoch = static_cast<int64_t>(plan.training_steps());
  const int64_t steps = settings.last_step(per_epoch);
  const double trained = static_cast<double>(steps * settings.global_batch);
  const double epochs = static_cast<double>(steps) / static_cast<double>(per_epoch);
  const double macs = static_cast<double>(graph.macs()) *
                      (kTrainingFactor * trained + static_cast<double>(validation_records) * epochs);
  const double speed = macs_per_core(options.dtype);
  const double seconds = macs / (speed * job.threads * ranks);
  const uint64_t arrays = graph.parameter_count * sizeof(float);
  const uint64_t feed = Feed::memory_bytes(settings.feed(plan, job.classes, job.workers, true));
  const uint64_t checkpoints = static_cast<uint64_t>(std::max(1, job.checkpoints_kept) + 1) * 2 * arrays;
  const auto bytes = [](uint64_t count) { return bytes_text(static_cast<double>(count)); };
  const auto classes = static_cast<uint64_t>(job.classes);
  StagePlan result;
  result.does = fmt::format("train {} ({} parameters, {:.2f} GMAC per image) on {} of {}", graph.name,
                            grouped(graph.parameter_count), static_cast<double>(graph.macs()) * 1e-9,
                            counted(training_records, "image"), counted(classes, "class"));
  const std::string validation =
      validation_records == 0 ? "none" : counted(validation_records, "image") + " after each epoch";
  result.details = {
      {"validation", validation, validation_records},
      {"images", settings.augmentation_text(), settings.augmentation_text()},
      {"steps",
       fmt::format("{} ({} per epoch, {} epochs; global batch {}: {} images on each of {})",
                   grouped(static_cast<uint64_t>(steps)), grouped(static_cast<uint64_t>(per_epoch)), settings.epochs,
                   settings.global_batch, plan.rank_batch(), counted(static_cast<uint64_t>(ranks), "rank")),
       {{"total", steps}, {"per_epoch", per_epoch}, {"global_batch", settings.global_batch}}},
      {"dropped",
       fmt::format("{} per epoch that do not fill a global batch; different ones in each epoch",
                   counted(plan.dropped(), "image")),
       plan.dropped()},
      {"computes",
       backend + ", " + name_of(options.dtype),
       {{"backend", backend}, {"precision", name_of(options.dtype)}}}};
  result.disk_bytes = static_cast<double>(checkpoints);
  result.disk_words = fmt::format("checkpoints, the last {} and the best", job.checkpoints_kept);
  result.memory_bytes =
      static_cast<double>(memory.activations + memory.workspace + memory.parameters + memory.optimizer + feed);
  result.memory_words =
      fmt::format("activations {} ({} if no buffers were shared), workspace {}, parameters {}, optimizer {}, feed {}",
                  bytes(memory.activations), bytes(memory.activations_unplanned), bytes(memory.workspace),
                  bytes(memory.parameters), bytes(memory.optimizer), bytes(feed));
  result.seconds = seconds;
  result.time_words = fmt::format("if each thread reaches {:.0f} GMAC/s; not measured on this machine", speed * 1e-9);
  result.ranks = ranks;
  result.threads = job.threads;
  result.table = layer_table(step.program);
  return result;
}

}  // namespace packhorse

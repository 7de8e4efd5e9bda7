#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "ops/backends.h"
#include "ops/memory_plan.h"
#include "train/training_run.h"

namespace packhorse {
namespace {

/// Multiply-adds a second and core of a whole training step, for the expected time alone: about what oneDNN reached on
/// cores with AVX-512 (tests/bench/RESULTS.md, inception-bn-21k: images/s * GMAC * 3 / threads).
constexpr double macs_per_core(Dtype dtype) { return dtype == Dtype::bf16 ? 90e9 : 45e9; }
/// Backward computes two products (of gradients with weights and with activations) for forward's one.
constexpr double kTrainingFactor = 3;
/// Parameters, gradients, momentum, and the backend's packed copies.
constexpr uint64_t kCopies = 4;

}  // namespace

std::string plan_text(const TrainingJob& job, uint64_t training_records, uint64_t validation_records, int ranks) {
  const TrainingSettings& settings = job.settings;
  BatchPlan plan{training_records, static_cast<uint64_t>(settings.global_batch), ranks, 0};
  plan.check(true);
  const Graph graph = make_network(settings.network, settings.image_size, job.classes);
  const ExecutorOptions options = settings.executor(static_cast<int64_t>(plan.rank_batch()), job.threads);
  const std::string backend = options.backend.empty() ? backend_names().front() : options.backend;
  const MemoryPlan memory = plan_memory(make_schedule(graph, merges_siblings(backend)),
                                        {options.batch, options.dtype, true, options.recompute});

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
  return fmt::format(
      "would train {} ({} parameters, {:.2f} GMAC an image) on {} images of {} classes, validating on {}\n"
      "steps     {} ({} an epoch, {} epochs, {} images a step: {} on each of {} ranks)\n"
      "left out  {} images an epoch, others each time, because they do not fill a step\n"
      "memory    a rank: activations {} ({} without a plan), parameters and momentum {}, feed {}\n"
      "disk      {} of checkpoints (the last {} and the best) in {}\n"
      "time      {} if {} threads on {} ranks ({}, {}) reach {:.0f} GMAC/s each, as others did; not measured here",
      graph.name, grouped(graph.parameter_count), static_cast<double>(graph.macs()) * 1e-9, grouped(training_records),
      grouped(static_cast<uint64_t>(job.classes)), grouped(validation_records), grouped(static_cast<uint64_t>(steps)),
      grouped(static_cast<uint64_t>(per_epoch)), settings.epochs, settings.global_batch, plan.rank_batch(), ranks,
      plan.dropped(), bytes(memory.bytes), bytes(memory.unplanned_bytes), bytes(kCopies * arrays), bytes(feed),
      bytes(checkpoints), job.checkpoints_kept, (job.folder / "checkpoints").string(), duration_text(seconds),
      job.threads, ranks, backend, settings.precision, speed * 1e-9);
}

}  // namespace packhorse

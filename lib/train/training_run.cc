#include "train/training_run.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <tuple>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "base/text.h"
#include "base/version.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_folder.h"
#include "comm/agreement.h"
#include "comm/sums.h"
#include "feed/image_input.h"
#include "image/resample.h"
#include "metrics/journal.h"
#include "ops/nodes.h"
#include "ops/optimizers.h"
#include "ops/plugin.h"
#include "step/trainer.h"
#include "train/agreed_choices.h"
#include "train/stop_request.h"
#include "train/validation.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Running totals over steps: since the last "step" line of the journal, over an epoch, or over the whole run.
struct RunningTotals {
  int64_t steps = 0;
  uint64_t images = 0, top1 = 0;
  double loss = 0, seconds = 0, feed_wait = 0, exposed = 0;
  double classes = 0;  // distinct labels in this rank's batches, summed over the steps

  void add(const RunningTotals& other) {
    steps += other.steps;
    images += other.images;
    top1 += other.top1;
    loss += other.loss;
    seconds += other.seconds;
    feed_wait += other.feed_wait;
    exposed += other.exposed;
    classes += other.classes;
  }
  /// What does not depend on the time: the same training gives the same checkpoint.
  Json results() const { return {{"steps", steps}, {"images", images}, {"top1", top1}, {"loss", loss}}; }
  static RunningTotals from(const Json& json, const std::string& where) {
    return {.steps = json_member<int64_t>(json, "steps", where),
            .images = json_member<uint64_t>(json, "images", where),
            .top1 = json_member<uint64_t>(json, "top1", where),
            .loss = json_member<double>(json, "loss", where)};
  }
  double mean_loss() const { return steps > 0 ? loss / static_cast<double>(steps) : 0; }
  double accuracy() const { return images > 0 ? static_cast<double>(top1) / static_cast<double>(images) : 0; }
  double images_per_second() const { return seconds > 0 ? static_cast<double>(images) / seconds : 0; }
};

// On GPUs it is the plug-in that sums: rank 0's id brings the ranks together.
std::unique_ptr<Allreduce> sums_on(Device& device, CommThread& comm) {
  add_sums("cuda", [](Device& of, CommThread& beside) {
    const BackendPlugin& plugin = *opened_plugin("cuda").plugin;
    World& world = beside.world();
    const std::string id = world.broadcast(world.is_root() ? plugin.sums_id() : "");
    return plugin.make_sums(of, id, world.rank(), world.size());
  });
  return make_sums(device, comm);
}

class TrainingRun {
 public:
  TrainingRun(World& world, const TrainingJob& job, const ShardReader& training, const ShardReader* validation)
      : world_(world),
        job_(job),
        training_(training),
        validation_(validation),
        plan_(plan_over(training.records())),
        graph_(make_network(job.settings.network, job.settings.image_size, job.classes)),
        comm_(world),
        agreement_(comm_),
        folder_(job.folder / "checkpoints", job.checkpoints_kept),
        choices_(choices_of_all()),
        executor_(graph_, executor_options(), [this](Device& device) { return sums_on(device, comm_); }),
        trainer_(executor_, agreement_, trainer_options()) {
    last_step_ = job.settings.last_step(steps_per_epoch());
  }

  TrainingSummary run() {
    log_info(executor_.backend_description());
    report_memory();
    begin();
    Feed feed(training_, feed_options(), executor_.device());
    Progress progress("train", "images", remaining_images());
    Stopwatch clock;
    while (trainer_.steps() < last_step_ && !summary_.stopped) {
      while (may_enqueue()) enqueue_step(feed);
      const TrainedStep step = collect_step(feed, clock);
      progress.spent(all_.seconds);
      progress.note(fmt::format("epoch {}, loss {:.3f}", (step.step - 1) / steps_per_epoch() + 1, step.loss));
      progress.add(job_.settings.global_batch);
      after_step(step);
      clock.lap();  // step times exclude validation and checkpoints
    }
    return finish();
  }

 private:
  int64_t steps_per_epoch() const { return static_cast<int64_t>(plan_.training_steps()); }
  bool is_root() const { return world_.is_root(); }
  uint64_t remaining_images() const {
    return static_cast<uint64_t>(std::max<int64_t>(0, last_step_ - trainer_.steps()) * job_.settings.global_batch);
  }

  BatchPlan plan_over(uint64_t records) const {
    BatchPlan plan{records, static_cast<uint64_t>(job_.settings.global_batch), world_.size(), world_.rank()};
    plan.check(true);
    return plan;
  }

  ExecutorOptions executor_options() const {
    ExecutorOptions options = job_.settings.executor(plan_, job_.threads);
    options.beside = job_.lane_threads;
    options.device = world_.local_rank();
    options.choices = choices_;
    options.measure = false;  // that is done
    return options;
  }
  Choices choices_of_all() {
    ExecutorOptions options = executor_options();
    options.measure = job_.settings.executor(plan_, job_.threads).measure;
    return agreed_choices(world_, graph_, options, job_.restart ? nullptr : &folder_);
  }

  TrainerOptions trainer_options() const {
    TrainerOptions options;
    options.schedule = job_.settings.learning_rate(steps_per_epoch());
    options.global_batch = plan_.global_batch;
    options.loss_scaling = has_loss_scale();
    return options;
  }

  FeedOptions feed_options() const {
    FeedOptions options = job_.settings.feed(plan_, job_.classes, job_.workers, true);
    options.first_epoch = static_cast<uint64_t>(trainer_.steps() / steps_per_epoch());
    options.first_step = static_cast<uint64_t>(trainer_.steps() % steps_per_epoch());
    return options;
  }

  void report_memory() const {
    const MemoryReport memory = executor_.memory();
    const uint64_t feed = Feed::memory_bytes(feed_options()) + training_.index_bytes();
    log_info(fmt::format(
        "{} on {}: {} parameters, {} per image; memory per rank: activations {} ({} if no buffers were shared), "
        "parameters {}, optimizer {}, workspace {}, feed {}, total {}",
        graph_.name, executor_.backend(), grouped(graph_.parameter_count),
        fmt::format("{:.2f} GMAC", static_cast<double>(graph_.macs()) * 1e-9),
        bytes_text(static_cast<double>(memory.activations)),
        bytes_text(static_cast<double>(memory.activations_unplanned)),
        bytes_text(static_cast<double>(memory.parameters)), bytes_text(static_cast<double>(memory.optimizer)),
        bytes_text(static_cast<double>(memory.workspace)), bytes_text(static_cast<double>(feed)),
        bytes_text(
            static_cast<double>(memory.activations + memory.parameters + memory.optimizer + memory.workspace + feed))));
    log_info("training images: " + job_.settings.augmentation_text());
    if (plan_.dropped() > 0) {
      log_info(fmt::format(
          "{} steps per epoch; drops {} images per epoch that do not fill a global batch, different ones each time",
          steps_per_epoch(), plan_.dropped()));
    }
  }

  // ---- Start and resumption

  void begin() {
    std::string from;
    if (is_root()) {
      make_folder(folder_.path());
      if (job_.restart) {
        folder_.clear();
        fs::remove(journal_path());
      }
      const auto path = folder_.load_newest([this](const fs::path& newest) { load(newest); });
      if (path) from = path->string();
    }
    from = world_.broadcast(from);
    if (from.empty()) {
      initialise(executor_, job_.settings.seed);
    } else if (!is_root()) {
      load(from);
    }
    if (is_root()) open_journal(from);
    since_checkpoint_.lap();
  }

  void load(const fs::path& path) {
    const CheckpointInfo info = read_checkpoint_info(path);
    check_continues(info, path, job_);
    report_resampling(info.resampling, path.string());
    load_state(path);
    trainer_.resume(info.batches_taken, info.updates_applied);
    take_loss_scale(info);
    if (!info.epoch_so_far.empty()) before_ = RunningTotals::from(info.epoch_so_far, path.string());
    results_ = info.results;
    take_results();
  }

  void open_journal(const std::string& from) {
    if (fs::exists(journal_path())) cut_journal(journal_path(), trainer_.steps());
    journal_ = std::make_unique<Journal>(journal_path());
    if (!from.empty()) log_info(fmt::format("continues after step {} from {}", grouped(trainer_.steps()), from));
    best_top1_ = best_so_far();
    journal_->append({{"kind", "run"},
                      {"schema", kJournalSchema},
                      {"time", unix_seconds()},
                      {"step", trainer_.steps()},
                      {"epoch", trainer_.steps() / steps_per_epoch()},
                      {"resumed", !from.empty()},
                      {"version", kVersion},
                      {"host", host_name()},
                      {"ranks", world_.size()},
                      {"threads", job_.threads},
                      {"backend", executor_.backend()},
                      {"steps_per_epoch", steps_per_epoch()},
                      {"last_step", last_step_},
                      {"training_images", plan_.records},
                      {"validation_images", validation_ != nullptr ? validation_->records() : 0},
                      {"parameters", graph_.parameter_count},
                      {"macs", graph_.macs()},
                      {"settings", job_.recorded_settings}});
  }

  /// The top-1 accuracy of best.h5, or -1 if there is none or it was written after the step that this run resumes from.
  double best_so_far() const {
    if (!fs::exists(folder_.best_path())) return -1;
    try {
      const CheckpointInfo info = read_checkpoint_info(folder_.best_path());
      return info.batches_taken <= trainer_.steps() ? info.results.value("top1", -1.0) : -1;
    } catch (const DamageError& error) {
      log_warning(std::string(error.what()) + "\n  the next validation replaces it");
      return -1;
    }
  }

  // ---- Steps

  bool epoch_ends(int64_t step) const { return step % steps_per_epoch() == 0; }
  /// Whether somebody looks at the state behind the step, known before it runs.
  bool ends_at(int64_t step) const {
    const bool due = job_.checkpoint_steps > 0 && step % job_.checkpoint_steps == 0;
    return epoch_ends(step) || step == last_step_ || due;
  }

  /// One step is enqueued ahead of the one that computes, if the device works beside this thread: not behind a step
  /// whose state somebody looks at, nor while a request waits for the steps in flight.
  bool may_enqueue() const {
    if (trainer_.in_flight() == 0) return true;
    const bool ahead = executor_.works_beside() && trainer_.in_flight() < 2;
    return ahead && !ends_at(trainer_.steps() + trainer_.in_flight()) && !requests_.stop && !requests_.checkpoint;
  }

  void enqueue_step(Feed& feed) {
    const Batch* batch = feed.next();
    if (batch == nullptr) throw Error({"the feed ended before the last training step", job_.folder.string(), ""});
    StepRequests own;
    own.stop = stop_.requested();
    own.checkpoint = is_root() && job_.checkpoint_seconds > 0 && since_checkpoint_.seconds() >= job_.checkpoint_seconds;
    classes_in_flight_.push_back(distinct_labels(*batch));
    noting_failure(trainer_.steps() + trainer_.in_flight() + 1, [&] { trainer_.enqueue(*batch, own); });
    feed.keep_until(executor_.input_taken());
  }

  TrainedStep collect_step(const Feed& feed, Stopwatch& clock) {
    TrainedStep step;
    noting_failure(trainer_.steps() + 1, [&] { step = trainer_.collect(); });
    const RunningTotals totals{.steps = 1,
                               .images = step.counted,
                               .top1 = step.top1,
                               .loss = step.loss,
                               .seconds = clock.lap(),
                               .feed_wait = feed.waited_seconds() - feed_waited_,
                               .exposed = step.exposed_seconds,
                               .classes = classes_in_flight_.front()};
    feed_waited_ = feed.waited_seconds();
    classes_in_flight_.pop_front();
    since_log_.add(totals);
    all_.add(totals);
    epoch_.add(totals);
    return step;
  }

  RunningTotals whole_epoch() const {
    RunningTotals whole = before_;
    whole.add(epoch_);
    return whole;
  }

  /// Number of distinct labels in a batch: shows how well the data is shuffled.
  double distinct_labels(const Batch& batch) {
    seen_.assign(static_cast<size_t>(job_.classes), false);
    for (const int32_t label : batch.labels) seen_[static_cast<size_t>(label)] = true;
    return static_cast<double>(std::count(seen_.begin(), seen_.end(), true));
  }

  /// The journal says why a run ended.
  template <typename Action>
  void noting_failure(int64_t step, const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      log_line({{"kind", "stop"}, {"time", unix_seconds()}, {"step", step}, {"reason", error.text().what}});
      throw;
    }
  }

  void after_step(const TrainedStep& step) {
    const bool last = step.step == last_step_;
    if (epoch_ends(step.step) || last || step.step % job_.log_interval == 0) log_step(step);
    results_ = Json::object();
    if (epoch_ends(step.step) || last) {
      log_epoch(step);
      run_validation();
      report_epoch(step);
      if (epoch_ends(step.step)) epoch_ = before_ = {};
    }
    requests_.stop |= step.requests.stop;
    requests_.checkpoint |= step.requests.checkpoint;
    if (trainer_.in_flight() > 0) return;  // a request waits until the state is that of the last step enqueued
    const StepRequests requests = std::exchange(requests_, {});
    if (ends_at(step.step) || requests.checkpoint || requests.stop) save();
    if (requests.stop && !last) {
      summary_.stopped = true;
      log_line({{"kind", "stop"}, {"time", unix_seconds()}, {"step", step.step}, {"reason", "requested"}});
    }
  }

  void log_line(const Json& line) {
    if (journal_ != nullptr) journal_->append(line);
  }

  void log_step(const TrainedStep& step) {
    Json line = {{"kind", "step"},
                 {"time", unix_seconds()},
                 {"step", step.step},
                 {"epoch", static_cast<double>(step.step) / static_cast<double>(steps_per_epoch())},
                 {"loss", since_log_.mean_loss()},
                 {"top1", since_log_.accuracy()},
                 {"classes_per_batch", since_log_.classes / static_cast<double>(since_log_.steps)},
                 {"learning_rate", step.learning_rate},
                 {"gradient_norm", step.gradient_norm},
                 {"images_per_second", since_log_.images_per_second()},
                 {"step_seconds", since_log_.seconds / static_cast<double>(since_log_.steps)},
                 {"feed_wait_seconds", since_log_.feed_wait / static_cast<double>(since_log_.steps)},
                 {"communication_exposed_seconds", since_log_.exposed / static_cast<double>(since_log_.steps)}};
    if (has_loss_scale()) {
      line["loss_scale"] = step.loss_scale;
      line["skipped_updates"] = step.step - trainer_.updates();
    }
    log_line(line);
    since_log_ = {};
  }

  void log_epoch(const TrainedStep& step) {
    log_line({{"kind", "epoch"},
              {"time", unix_seconds()},
              {"step", step.step},
              {"epoch", static_cast<double>(step.step) / static_cast<double>(steps_per_epoch())},
              {"loss", whole_epoch().mean_loss()},
              {"top1", whole_epoch().accuracy()},
              {"images", whole_epoch().images},
              {"seconds", epoch_.seconds},
              {"images_per_second", epoch_.images_per_second()},
              {"feed_wait_seconds", epoch_.feed_wait},
              {"communication_exposed_seconds", epoch_.exposed}});
  }

  /// What an epoch came to, in one line. `step` is its last one, or the last of all.
  void report_epoch(const TrainedStep& step) {
    const auto value = [&](const char* name) { return results_.at(name).get<double>(); };
    const std::string validated = !results_.contains("top1")
                                      ? ""
                                      : fmt::format("; validation loss {:.3f}, top-1 {:.2f} %, top-5 {:.2f} %",
                                                    value("loss"), 100 * value("top1"), 100 * value("top5"));
    log_info(fmt::format("epoch {:g} of {}: loss {:.3f}, top-1 {:.2f} %{} ({}); {:.0f} images/s, lr {:.3g}",
                         static_cast<double>(step.step) / static_cast<double>(steps_per_epoch()), job_.settings.epochs,
                         whole_epoch().mean_loss(), 100 * whole_epoch().accuracy(), validated,
                         name_of(*job_.settings.precision), epoch_.images_per_second(), step.learning_rate));
  }

  // ---- Validation and checkpoints

  void run_validation() {
    if (validation_ == nullptr) return;
    Stopwatch clock;
    BatchPlan plan = plan_;
    plan.records = validation_->records();
    Feed feed(*validation_, job_.settings.feed(plan, job_.classes, job_.workers, false), executor_.device());
    const AccuracyCounters counters = validate(executor_, feed, world_, plan.records);
    results_ = {{"top1", counters.accuracy(0)},
                {"top5", counters.accuracy(1)},
                {"loss", counters.loss()},
                {"images", counters.images()}};
    take_results();
    const double seconds = clock.seconds();
    Json line = {{"kind", "validation"},
                 {"time", unix_seconds()},
                 {"step", trainer_.steps()},
                 {"epoch", static_cast<double>(trainer_.steps()) / static_cast<double>(steps_per_epoch())}};
    line.update(results_);
    line["seconds"] = seconds;
    line["images_per_second"] = static_cast<double>(plan.records) / seconds;
    log_line(line);
    if (is_root() && *summary_.top1 > best_top1_) {
      // Written before the step's own checkpoint: a run that is killed between the two repeats this step and its
      // validation.
      best_top1_ = *summary_.top1;
      save_to(folder_.best_path());
    }
  }

  void take_results() {
    if (!results_.contains("top1")) return;
    summary_.top1 = results_.at("top1").get<double>();
    summary_.top5 = results_.at("top5").get<double>();
  }

  void save() {
    if (is_root()) {
      journal_->sync();  // its lines up to this step must be on disk before the checkpoint
      save_to(folder_.step_path(trainer_.steps()));
      folder_.prune();
    }
    since_checkpoint_.lap();
  }

  void save_to(const fs::path& path) {
    CheckpointInfo info;
    info.network = graph_.name;
    info.image_size = graph_.image_size;
    info.classes = graph_.classes;
    info.classes_crc32c = job_.classes_crc32c;
    info.data_crc32c = job_.data_crc32c;
    info.resampling = kResampling;
    info.batches_taken = trainer_.steps();
    info.updates_applied = trainer_.updates();
    std::tie(info.loss_scale, info.updates_at_loss_scale) = loss_scale();
    info.choices = Json(executor_.choices());
    info.epoch = info.batches_taken / steps_per_epoch();
    info.settings = job_.recorded_settings;
    if (const RunningTotals epoch = whole_epoch(); epoch.steps > 0) info.epoch_so_far = epoch.results();
    info.results = results_;
    std::vector<HostView> views;
    std::vector<StateArray> arrays;
    for (const std::string& name : state_names()) {
      views.push_back(executor_.state(name));
      arrays.push_back({name, views.back().span(), by_statistic(name)});
    }
    save_checkpoint(path, info, graph_, arrays);
  }

  // Where nothing is scaled, a checkpoint's numbers are kept.
  bool has_loss_scale() const { return executor_options().loss_scale > 0; }
  std::pair<double, int64_t> loss_scale() {
    const HostView state = executor_.state(kLossScaleState);
    if (state.size() == 0) return kept_loss_scale_;
    return {state[kLossScaleFactor], static_cast<int64_t>(state[kLossScaleUpdates])};
  }
  // With another --loss-scale than before, this run begins with its own.
  void take_loss_scale(const CheckpointInfo& info) {
    kept_loss_scale_ = {info.loss_scale, info.updates_at_loss_scale};
    const bool same = info.settings.value("loss-scale", Json()) == job_.recorded_settings.value("loss-scale", Json());
    if (!has_loss_scale() || !same) return;
    executor_.write(kLossScaleState,
                    std::array{static_cast<float>(info.loss_scale), static_cast<float>(info.updates_at_loss_scale)});
  }

  /// The arrays that a checkpoint holds.
  std::vector<std::string> state_names() const {
    std::vector<std::string> names = {"weights", "statistics"};
    const std::vector<std::string>& own = optimizer_named(job_.settings.optimizer).states;
    names.insert(names.end(), own.begin(), own.end());
    return names;
  }
  static bool by_statistic(const std::string& name) { return name == "statistics"; }

  void load_state(const fs::path& path) {
    std::vector<std::vector<float>> numbers;
    std::vector<StateBuffer> arrays;
    for (const std::string& name : state_names()) {
      numbers.emplace_back(executor_.state(name).size());
      arrays.push_back({name, numbers.back(), by_statistic(name)});
    }
    load_checkpoint(path, graph_, arrays);
    for (size_t i = 0; i < arrays.size(); ++i) executor_.write(arrays[i].name, numbers[i]);
  }

  TrainingSummary finish() {
    summary_.step = trainer_.steps();
    summary_.epochs = summary_.step / steps_per_epoch();
    summary_.images = static_cast<uint64_t>(summary_.step * job_.settings.global_batch);
    summary_.images_per_second = all_.images_per_second();
    summary_.feed_wait_share = all_.seconds > 0 ? all_.feed_wait / all_.seconds : 0;
    summary_.best_top1 = std::max(0.0, best_top1_);
    summary_.backend = executor_.backend_description();
    summary_.last_checkpoint = folder_.step_path(summary_.step);
    summary_.best_checkpoint = validation_ != nullptr ? folder_.best_path() : summary_.last_checkpoint;
    summary_.journal = journal_path();
    if (!summary_.stopped)
      log_line({{"kind", "stop"}, {"time", unix_seconds()}, {"step", summary_.step}, {"reason", "finished"}});
    if (journal_ != nullptr) journal_->sync();
    return summary_;
  }

  fs::path journal_path() const { return job_.folder / "metrics.jsonl"; }

  World& world_;
  const TrainingJob& job_;
  const ShardReader& training_;
  const ShardReader* validation_;
  StopRequest stop_;
  BatchPlan plan_;
  Graph graph_;
  CommThread comm_;
  Agreement agreement_;
  CheckpointFolder folder_;
  Choices choices_;  // between ways to compute, the same on all ranks
  Executor executor_;
  Trainer trainer_;
  std::unique_ptr<Journal> journal_;  // on rank 0 only
  int64_t last_step_ = 0;
  std::pair<double, int64_t> kept_loss_scale_{1, 0};  // of the checkpoint, for a run that scales nothing
  double best_top1_ = -1;
  Json results_ = Json::object();  // of the validation after the current step, if there was one
  Stopwatch since_checkpoint_;
  StepRequests requests_;  // agreed on, not yet acted on
  std::deque<double> classes_in_flight_;
  double feed_waited_ = 0;
  RunningTotals since_log_, epoch_, all_;  // of this process
  RunningTotals before_;                   // of the epoch, before this process: without times
  std::vector<bool> seen_;                 // by label
  TrainingSummary summary_;
};

}  // namespace

void check_continues(const CheckpointInfo& info, const fs::path& path, const TrainingJob& job) {
  const std::string hint =
      "use the same settings as before, train beside it with --run NAME or another --out, or train from the beginning "
      "with --restart";
  if (info.classes_crc32c != job.classes_crc32c || info.data_crc32c != job.data_crc32c) {
    throw Error({std::string("the checkpoint was trained on other ") +
                     (info.classes_crc32c != job.classes_crc32c ? "classes" : "shards"),
                 path.string(), hint});
  }
  const std::string names = joined(differing_settings(info.settings, job.recorded_settings));
  if (!names.empty()) throw Error({"the checkpoint was made with other settings (" + names + ")", path.string(), hint});
}

void TrainingJob::declare(Options& options) {
  settings.declare(options);
  options.run_option("threads", threads, "Compute threads per rank. 0: the rank's share of the cores.");
  options.run_option("lane-threads", lane_threads,
                     "Compute parts of a step that do not wait for each other (gradients of weights, second branches) "
                     "on threads of their own. The results are the same.");
  options.run_option("workers", workers, "Threads per rank that decode images. 0: the rank's share of the cores.");
  options.run_option("checkpoint-steps", checkpoint_steps,
                     "Write a checkpoint every this many steps, in addition to the one after each epoch. 0: off.");
  options.run_option("checkpoint-seconds", checkpoint_seconds,
                     "Write a checkpoint when the last one is this many seconds old. 0: off.");
  options.run_option("checkpoint-hist", checkpoints_kept,
                     "Number of checkpoints to keep, in addition to the best one.");
  options.run_option("log-interval", log_interval, "Write a line to metrics.jsonl every this many steps.");
  options.run_option(
      "inexact", inexact,
      "When a run is repeated: with other ranks or threads than it had, so that it may end with other bits.");
  options.run_option("restart", restart,
                     "Train from the beginning. An unfinished training in the output folder is removed; a finished one "
                     "stays until this one is finished.");
}

TrainingSummary run_training(World& world, const TrainingJob& job, const ShardReader& training,
                             const ShardReader* validation) {
  return TrainingRun(world, job, training, validation).run();
}

}  // namespace packhorse

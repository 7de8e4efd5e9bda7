#include "infer/evaluation_run.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "base/text.h"
#include "feed/packed_shards.h"
#include "image/resample.h"
#include "metrics/top_k.h"
#include "results/hierarchy.h"

namespace packhorse {
namespace {

constexpr size_t kBestKept = 5;
constexpr size_t kMaxConfusions = 10000;

/// A single image to keep, and its position in the shards.
struct Kept {
  uint64_t position = 0;
  SampleResult result;

  double confidence() const { return result.best.front().probability; }
  /// Highest confidence first.
  bool operator<(const Kept& other) const {
    return confidence() != other.confidence() ? confidence() > other.confidence() : position < other.position;
  }
};

class EvaluationRun {
 public:
  EvaluationRun(World& world, Inference& inference, const ShardReader& shards, const EvaluationJob& job)
      : world_(world),
        inference_(inference),
        shards_(shards),
        job_(job),
        map_(label_map(job.data_classes, job.classes)),
        all_(all_classes(job.classes)),
        options_(evaluation_feed(inference, world, job, shards.records())) {
    counters_.emplace_back(all_.set);
    if (job.subset) counters_.emplace_back(job.subset->set);
    const uint64_t wanted = std::min<uint64_t>(job.samples, shards.records());
    for (uint64_t i = 0; i < wanted; ++i) sampled_.insert((2 * i + 1) * shards.records() / (2 * wanted));
  }

  Evaluation run() {
    count_images();
    Evaluation evaluation;
    evaluation.listed = shards_.records();
    evaluation.step = inference_.info().batches_taken;
    evaluation.epoch = inference_.info().epoch;
    evaluation.samples = gather_samples();
    merge();
    if (!world_.is_root()) return evaluation;
    for (size_t label = 0; label < job_.classes.size(); ++label) {
      evaluation.class_ids.push_back(job_.classes[label].id);
      evaluation.class_names.push_back(job_.classes[label].names);
    }
    evaluation.scopes.push_back(scope(counters_[0], "all", all_.title));
    if (job_.subset) evaluation.scopes.push_back(scope(counters_[1], "subset", job_.subset->title));
    return evaluation;
  }

 private:
  void count_images() {
    const auto classes = job_.classes.size();
    Feed feed(shards_, options_, inference_.executor().device());
    Progress progress("evaluate", "images", shards_.records(), !world_.is_root());
    while (const Batch* batch = feed.next()) {
      const std::span<const float> logits = inference_.executor().infer(batch->pixels);
      for (size_t i = 0; i < batch->labels.size(); ++i) {
        const uint64_t position = options_.plan.position(batch->step, i);
        if (position >= shards_.records()) continue;
        count_image(logits.subspan(i * classes, classes), batch->labels[i], position, batch->ids[i]);
      }
      progress.add(std::min(options_.plan.global_batch, shards_.records() - progress.done()));
    }
  }

  void count_image(std::span<const float> logits, int32_t data_label, uint64_t position, uint64_t image) {
    const int64_t label = map_[static_cast<size_t>(data_label)];
    for (AccuracyCounters& counters : counters_) counters.add(logits, label);
    const bool sampled = sampled_.contains(position);
    const bool wrong = label >= 0 && rank_of(logits, all_.set, static_cast<uint32_t>(label)) > 0;
    if (!sampled && (!wrong || job_.mistakes == 0)) return;
    Kept kept{position,
              {image,
               label,
               job_.data_classes.short_name(static_cast<size_t>(data_label)),
               false,
               best_classes(logits, all_.set, kBestKept),
               {}}};
    if (sampled) samples_.push_back(kept);
    if (!wrong || job_.mistakes == 0) return;
    kept.result.mistake = true;
    mistakes_.insert(std::move(kept));
    if (mistakes_.size() > job_.mistakes) mistakes_.erase(std::prev(mistakes_.end()));
  }

  void merge() {
    for (AccuracyCounters& counters : counters_) {
      world_.sum(counters.counts());
      const auto texts = world_.gather(counters.pairs_text());
      for (size_t rank = 1; rank < texts.size(); ++rank) counters.add_pairs(texts[rank]);
      check(counters);
    }
  }

  void check(const AccuracyCounters& counters) const {
    const uint64_t counted = counters.images() + counters.outside() + counters.not_finite();
    if (counted != shards_.records()) {
      throw Error({fmt::format("{} of {} images were counted", grouped(counted), grouped(shards_.records())),
                   "the evaluation", ""});
    }
    if (counters.not_finite() > 0) {
      throw Error({fmt::format("the network's outputs are not finite for {} of {} images",
                               grouped(counters.not_finite()), grouped(counted)),
                   inference_.info().network, "evaluate an earlier checkpoint, or use --precision f32"});
    }
  }

  ScopeResult scope(const AccuracyCounters& counters, const std::string& name, const std::string& title) const {
    ScopeResult result = summarise(counters, kMaxConfusions);
    result.name = name;
    result.title = title;
    result.hierarchical = hierarchical_accuracy(counters, job_.classes);
    return result;
  }

  // ---- Single images: each rank keeps its own, rank 0 selects from all -------------------------------------------

  std::string packed(const std::vector<Kept>& kept) const {
    Json list = Json::array();
    std::vector<std::byte> buffer;
    for (const Kept& each : kept) {
      Json best = Json::array();
      for (const ScoredClass& scored : each.result.best) best.push_back({scored.label, scored.probability});
      const auto image = shards_.read(each.position, buffer).image;
      const auto* bytes = reinterpret_cast<const uint8_t*>(image.data());
      list.push_back({{"position", each.position},
                      {"image", each.result.image},
                      {"label", each.result.label},
                      {"label_name", each.result.label_name},
                      {"mistake", each.result.mistake},
                      {"best", best},
                      {"jpeg", Json::binary({bytes, bytes + image.size()})}});
    }
    const auto bytes = Json::to_cbor(list);
    return {bytes.begin(), bytes.end()};
  }

  static void unpack(const std::string& text, std::vector<Kept>& kept) {
    for (const Json& json : Json::from_cbor(text.begin(), text.end())) {
      Kept each{json["position"].get<uint64_t>(), {}};
      each.result.image = json["image"].get<uint64_t>();
      each.result.label = json["label"].get<int64_t>();
      each.result.label_name = json["label_name"].get<std::string>();
      each.result.mistake = json["mistake"].get<bool>();
      for (const Json& best : json["best"])
        each.result.best.push_back({best[0].get<uint32_t>(), best[1].get<double>()});
      each.result.jpeg = json["jpeg"].get_binary();
      kept.push_back(std::move(each));
    }
  }

  std::vector<SampleResult> gather_samples() {
    std::vector<Kept> mine = samples_;
    mine.insert(mine.end(), mistakes_.begin(), mistakes_.end());
    std::vector<Kept> samples, mistakes;
    for (const std::string& text : world_.gather(packed(mine))) {
      std::vector<Kept> theirs;
      unpack(text, theirs);
      for (Kept& each : theirs) (each.result.mistake ? mistakes : samples).push_back(std::move(each));
    }
    std::sort(samples.begin(), samples.end(), [](const Kept& a, const Kept& b) { return a.position < b.position; });
    std::sort(mistakes.begin(), mistakes.end());
    mistakes.resize(std::min(mistakes.size(), job_.mistakes));
    std::vector<SampleResult> results;
    for (auto* kept : {&samples, &mistakes}) {
      for (Kept& each : *kept) results.push_back(std::move(each.result));
    }
    return results;
  }

  World& world_;
  Inference& inference_;
  const ShardReader& shards_;
  const EvaluationJob& job_;
  const std::vector<int64_t> map_;  // from a label of the data to one of the network, or -1
  const ClassChoice all_;
  const FeedOptions options_;
  std::vector<AccuracyCounters> counters_;  // of all classes, then of the subset
  std::set<uint64_t> sampled_;              // positions of the even sample
  std::vector<Kept> samples_;
  std::set<Kept> mistakes_;
};

}  // namespace

void check_trained_on(const CheckpointInfo& info, const StageManifest& pack) {
  if (info.data_crc32c.empty() || info.data_crc32c == data_crc32c(pack, "train")) return;
  throw Error({"the images were packed again, and differently, since the network was trained on them",
               pack.path.string(),
               "train again; or evaluate on what is there now, whatever the network has seen of it, with --data " +
                   pack.path.string()});
}

void check_common_class(const EvaluationJob& job, const StageManifest& pack) {
  const auto map = label_map(job.data_classes, job.classes);
  if (std::any_of(map.begin(), map.end(), [](int64_t label) { return label >= 0; })) return;
  throw UsageError({"none of the images' classes is among those of the network: " + job.data_classes[0].id +
                        ", for example, is not (it has " + job.classes[0].id + ", ...)",
                    pack.path.string(), "give --data with images of the network's classes"});
}

FeedOptions evaluation_feed(const Inference& inference, const World& world, const EvaluationJob& job, uint64_t images) {
  const auto global = static_cast<uint64_t>(job.batch) * static_cast<uint64_t>(world.size());
  return inference.feed({images, global, world.size(), world.rank()}, static_cast<int64_t>(job.data_classes.size()),
                        job.workers);
}

namespace {

uint64_t feed_bytes(const Inference& inference, const World& world, const EvaluationJob& job,
                    const ShardReader& shards) {
  return Feed::memory_bytes(evaluation_feed(inference, world, job, shards.records())) + shards.index_bytes();
}

}  // namespace

void report_evaluation(const Inference& inference, const World& world, const EvaluationJob& job,
                       const ShardReader& shards) {
  constexpr size_t kMaxNames = 400;  // length of a list of classes in a message, in characters
  const auto map = label_map(job.data_classes, job.classes);
  std::vector<std::string> unknown;
  for (size_t label = 0; label < map.size(); ++label) {
    if (map[label] < 0) unknown.push_back(job.data_classes[label].id);
  }
  log_info(counted(shards.records(), "image") + " of " + counted(job.data_classes.size(), "class"));
  if (!unknown.empty()) {
    log_info(fmt::format(
        "not among the network's classes, so their images are counted but not evaluated: {} of the data ({})",
        counted(unknown.size(), "class"), joined(unknown).substr(0, kMaxNames)));
  }
  if (job.subset && !job.subset->missing.empty()) {
    log_info(fmt::format("not among the network's classes: {} of the subset ({})",
                         counted(job.subset->missing.size(), "class"),
                         joined(job.subset->missing).substr(0, kMaxNames)));
  }
  log_info(inference.memory_text(feed_bytes(inference, world, job, shards)));
}

StagePlan planned(Inference& inference, const World& world, const EvaluationJob& job, const ShardReader& shards) {
  const auto side = static_cast<size_t>(inference.info().image_size);
  const std::vector<uint8_t> pixels(static_cast<size_t>(job.batch) * side * side * 3);
  inference.executor().infer(pixels);  // warms up
  const Stopwatch clock;
  inference.executor().infer(pixels);
  const auto images = static_cast<double>(shards.records());
  StagePlan plan;
  plan.does = "evaluate " + inference.info().network + " on " + counted(shards.records(), "image");
  plan.reads = {inference.checkpoint()};
  plan.details = {{"images", counted(shards.records(), "image") + " of " + counted(job.data_classes.size(), "class"),
                   shards.records()}};
  plan.memory_bytes = static_cast<double>(inference.memory_bytes() + feed_bytes(inference, world, job, shards));
  plan.seconds = clock.seconds() * std::ceil(images / static_cast<double>(job.batch * world.size()));
  plan.time_words = "for the network alone, from one batch";
  plan.ranks = world.size();
  plan.threads = inference.threads();
  return plan;
}

Evaluation run_evaluation(World& world, Inference& inference, const ShardReader& shards, const EvaluationJob& job) {
  return EvaluationRun(world, inference, shards, job).run();
}

std::string finish_evaluation(Stage& stage, Evaluation& evaluation, const EvaluationJob& job,
                              const Inference& inference, const StageManifest& pack, int ranks) {
  StageManifest& manifest = stage.manifest();
  evaluation.facts = {{"network", inference.info().network},
                      {"checkpoint", inference.checkpoint().filename().string()},
                      {"data", pack.dataset.value("name", "")},
                      {"split", manifest.settings["split"].get<std::string>()},
                      {"precision", manifest.settings["precision"].get<std::string>()},
                      {"resampling", kResampling},
                      {"training_resampling", inference.info().resampling}};
  if (job.subset) evaluation.facts.emplace_back("subset_missing", joined(job.subset->missing));
  const std::filesystem::path file = stage.work() / "evaluation.h5";
  write_evaluation(file, evaluation);
  manifest.backend = inference.backend_description();
  manifest.resampling = kResampling;
  manifest.counts = {{"listed", evaluation.listed}};
  std::vector<std::string> accuracies;
  for (const ScopeResult& scope : evaluation.scopes) {
    manifest.counts[scope.name] = {{"classes", scope.classes},  {"images", scope.images},
                                   {"outside", scope.outside},  {"top1", scope.accuracy[0]},
                                   {"top5", scope.accuracy[1]}, {"top20", scope.accuracy[2]},
                                   {"loss", scope.loss}};
    accuracies.push_back(accuracy_text(scope));
  }
  manifest.outputs = {describe_file("evaluation", file, evaluation.listed)};
  stage.finish(ranks);
  return fmt::format("evaluated {} of {} images with {} after {} in {}: {}, {}",
                     grouped(evaluation.scopes.front().images), grouped(evaluation.listed),
                     evaluation.fact("checkpoint"), counted(static_cast<uint64_t>(evaluation.step), "step"),
                     evaluation.fact("precision"), joined(accuracies, "; "), duration_text(stage.seconds()));
}

}  // namespace packhorse

#include "train/training_settings.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace packhorse {
namespace {

double number_from(const std::string& word, const std::string& name) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  if (word.empty() || *end != '\0' || !std::isfinite(value))
    throw UsageError({"'" + word + "' is not a number", name, "numbers with commas between them"});
  return value;
}

int64_t steps_of(double epochs, int64_t steps_per_epoch) {
  return std::llround(epochs * static_cast<double>(steps_per_epoch));
}

}  // namespace

void TrainingSettings::declare(Options& o) {
  o.setting("network", network, "the network to train");
  o.one_of(network_names());
  o.setting("image-size", image_size, "pixels on a side of what the network sees");
  o.between(8, 1024);
  o.setting("global-batch", global_batch, "pictures a step, over all ranks");
  o.between(1, 1 << 20);
  o.setting("epochs", epochs, "passes over the training images");
  o.between(1, 1e6);
  o.setting("lr", lr, "learning rate for the whole global batch");
  o.between(0, 1e4);
  o.setting("warmup-epochs", warmup_epochs, "epochs in which the rate rises from zero (-1: a tenth of all, at most 5)");
  o.between(-1, 1e6);
  o.setting("schedule", schedule, "how the rate falls afterwards");
  o.one_of({"cosine", "steps"});
  o.setting("milestones", milestones, "steps: epochs at which the rate is multiplied by lr-factor (30,60,80)");
  o.setting("lr-factor", lr_factor, "steps: that factor");
  o.between(0, 1);
  o.setting("momentum", momentum, "of stochastic gradient descent");
  o.between(0, 0.9999);
  o.setting("weight-decay", weight_decay, "on weights; never on batch norm and biases");
  o.between(0, 1);
  o.setting("label-smoothing", label_smoothing, "share of the target spread over all classes");
  o.between(0, 0.9);
  o.setting("precision", precision,
            "of activations; weights, sums and statistics are always f32 (auto: bf16 where it is fast)");
  o.one_of({"f32", "bf16", "auto"});
  o.setting("seed", seed, "of initial weights, order and crops");
  o.setting("crop", crop, "training crops");
  o.one_of(crop_mode_names());
  o.setting("min-area", min_area, "random-resized-crop: smallest share of the picture taken");
  o.between(0.01, 1);
  o.setting("pad", pad, "random-crop: pixels by which the edges are repeated first");
  o.between(0, 512);
  o.setting("mirror", mirror, "exchange left and right in every other training picture");
  o.setting("resize", resize, "short edge before crops of fixed size (0: 8/7 of image-size, small pictures whole)");
  o.between(0, 4096);
  o.setting("mean", mean, "subtracted from 8-bit pixels: one number, or red,green,blue");
  o.setting("scale", scale, "then multiplied: one number, or red,green,blue");
  o.setting("shuffle-block", shuffle_block, "consecutive records read as one piece (1: an exact global shuffle)");
  o.between(1, 1e9);
  o.setting("shuffle-window", shuffle_window, "pieces, from all over the data, that are shuffled together");
  o.between(1, 1e9);
  o.setting("statistics-momentum", statistics_momentum, "of batch norm's running mean and variance");
  o.between(0, 0.9999);
  o.setting("backend", backend, "what computes (default: the fastest that was built)");
  o.setting("recompute", recompute, "compute batch norm's outputs again in backward instead of keeping them");
  o.setting("limit-steps", limit_steps, "end after so many steps (0: all)");
  o.between(0, 1e15);
}

void TrainingSettings::check() const {
  if (short_edge() < image_size) {
    throw UsageError(
        {"a short edge of " + std::to_string(resize) + " leaves no crop of " + std::to_string(image_size) + " pixels",
         "resize", std::to_string(image_size) + " or more, or 0"});
  }
  if (warmup_epochs >= static_cast<double>(epochs))
    throw UsageError({"the warm-up is as long as the training", "warmup-epochs", "a number below epochs"});
  if (schedule == "steps" && milestones.empty())
    throw UsageError({"a schedule of steps without milestones", "milestones", "--milestones 30,60,80"});
  const auto backends = backend_names();
  if (!backend.empty() && std::find(backends.begin(), backends.end(), backend) == backends.end()) {
    std::string known;
    for (const auto& name : backends) known += (known.empty() ? "" : ", ") + name;
    throw UsageError({"there is no backend '" + backend + "' in this build", "backend", "one of " + known});
  }
  for (const auto& word : milestones) number_from(word, "milestones");
  float channels[3];
  parse_channels(mean, "mean", channels);
  parse_channels(scale, "scale", channels);
}

void TrainingSettings::settle_precision() {
  if (precision != "auto") return;
#if defined(__x86_64__)
  precision = __builtin_cpu_supports("avx512bf16") ? "bf16" : "f32";
#else
  precision = "f32";
#endif
}

int TrainingSettings::short_edge() const {
  constexpr int kSmall = 64;  // up to this size, pictures of that size are a data set's own
  if (resize > 0) return resize;
  return image_size <= kSmall ? image_size : static_cast<int>(std::lround(image_size * 8.0 / 7.0));
}

double TrainingSettings::warmup() const {
  return warmup_epochs >= 0 ? warmup_epochs : std::min(5.0, 0.1 * static_cast<double>(epochs));
}

int64_t TrainingSettings::last_step(int64_t steps_per_epoch) const {
  const int64_t total = total_steps(steps_per_epoch);
  return limit_steps > 0 ? std::min(limit_steps, total) : total;
}

RateSchedule TrainingSettings::rate(int64_t steps_per_epoch) const {
  RateSchedule rate;
  rate.kind = schedule == "steps" ? RateSchedule::Kind::steps : RateSchedule::Kind::cosine;
  rate.base = lr;
  rate.warmup_steps = steps_of(warmup(), steps_per_epoch);
  rate.total_steps = total_steps(steps_per_epoch);
  for (const auto& word : milestones)
    rate.milestones.push_back(steps_of(number_from(word, "milestones"), steps_per_epoch));
  rate.factor = lr_factor;
  return rate;
}

FeedOptions TrainingSettings::feed(const BatchPlan& plan, int64_t classes, int threads, bool training) const {
  FeedOptions options;
  options.plan = plan;
  options.shuffle = {seed, shuffle_block, shuffle_window};
  options.augment.size = image_size;
  options.augment.crop = crop_mode_from(crop);
  options.augment.resize = short_edge();
  options.augment.min_area = min_area;
  options.augment.pad = pad;
  options.augment.mirror = mirror;
  options.augment.seed = seed;
  options.training = training;
  options.end_epoch = static_cast<uint64_t>(epochs);
  options.classes = classes;
  options.threads = threads;
  return options;
}

ExecutorOptions TrainingSettings::executor(int64_t rank_batch, int threads) const {
  ExecutorOptions options;
  options.backend = backend;
  options.batch = rank_batch;
  options.dtype = precision == "bf16" ? Dtype::bf16 : Dtype::f32;
  options.recompute = recompute;
  options.threads = threads;
  parse_channels(mean, "mean", options.mean);
  parse_channels(scale, "scale", options.scale);
  options.label_smoothing = static_cast<float>(label_smoothing);
  options.statistics_momentum = static_cast<float>(statistics_momentum);
  return options;
}

std::vector<std::string> differing_settings(const Json& before, const Json& now) {
  static const std::vector<std::string> kFree = {"backend", "recompute", "limit-steps"};
  std::vector<std::string> names;
  for (const auto& [name, value] : now.items()) {
    if (std::find(kFree.begin(), kFree.end(), name) != kFree.end()) continue;
    if (!before.contains(name) || before.at(name) != value) names.push_back(name);
  }
  return names;
}

void parse_channels(const std::vector<std::string>& words, const std::string& name, float (&dst)[3]) {
  if (words.size() != 1 && words.size() != 3)
    throw UsageError({std::to_string(words.size()) + " numbers for three channels", name, "one number, or three"});
  for (size_t c = 0; c < 3; ++c) dst[c] = static_cast<float>(number_from(words[words.size() == 1 ? 0 : c], name));
}

}  // namespace packhorse

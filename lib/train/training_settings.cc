#include "train/training_settings.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

#include "base/error.h"
#include "base/text.h"
#include "net/graph.h"
#include "ops/backends.h"
#include "ops/optimizers.h"

namespace packhorse {
namespace {

int64_t steps_of(double epochs, int64_t steps_per_epoch) {
  return std::llround(epochs * static_cast<double>(steps_per_epoch));
}

}  // namespace

void TrainingSettings::declare(Options& o) {
  o.setting("network", network, "Network to train.");
  o.one_of(network_names());
  o.setting("image-size", image_size, "Width and height of the network's input, in pixels (8 to 1024).");
  o.between(8, 1024);
  o.setting("global-batch", global_batch, "Number of images per step, over all ranks.");
  o.between(1, 1 << 20);
  o.setting("epochs", epochs, "Number of times that each training image is used.");
  o.between(1, 1e6);
  o.setting("opt", optimizer, "Optimizer.");
  o.one_of(optimizer_names());
  o.setting("lr", lr, "Learning rate, for the whole global batch.");
  o.between(0, 1e4);
  o.setting("warmup-epochs", warmup_epochs,
            "Epochs in which the learning rate rises from zero to --lr. -1: a tenth of all epochs, at most 5.");
  o.between(-1, 1e6);
  o.setting("sched", schedule, "Learning rate schedule after the warm-up.");
  o.one_of({"cosine", "multistep"});
  o.setting("milestones", milestones,
            "multistep: epochs at which the learning rate is multiplied by --lr-factor, for example 30,60,80.");
  o.setting("lr-factor", lr_factor, "multistep: the factor at each milestone, from 0 to 1.");
  o.between(0, 1);
  o.setting("momentum", momentum, "Momentum of stochastic gradient descent, from 0 to 0.9999.");
  o.between(0, 0.9999);
  o.setting("weight-decay", weight_decay, "L2 weight decay, from 0 to 1. Batch norm and biases are not decayed.");
  o.between(0, 1);
  o.setting("label-smoothing", label_smoothing,
            "Share of the target probability that is spread over all classes, from 0 to 0.9.");
  o.between(0, 0.9);
  o.setting("precision", precision,
            {{"f32", Dtype::f32}, {"bf16", Dtype::bf16}, {"f16", Dtype::f16}, {"auto", std::nullopt}},
            "Number format of activations. Weights, sums and statistics are always f32. auto: the one that the backend "
            "prefers (f16 on a GPU, bf16 if the CPU has instructions for it), if all ranks prefer the same, else f32.");
  o.setting("loss-scale", loss_scale,
            "Factor of the loss in the backward pass, so that small gradients stay in the range of f16: a power of two "
            "that stays; 0: with f16, one that begins at 65536, is halved where a gradient is not finite (the update "
            "is then skipped), and is doubled after 2,000 updates.");
  o.between(0, 16777216);
  o.setting("seed", seed, "Random seed of the initial weights, the order of the images, and the crops.");
  o.setting("crop", crop, "How training images are cropped.");
  o.one_of(crop_mode_names());
  o.setting("min-area", min_area, "random-resized-crop: smallest share of the image's area, from 0.01 to 1.");
  o.between(0.01, 1);
  o.setting("pad", pad, "random-crop: number of pixels by which the edges are repeated before the crop.");
  o.between(0, 512);
  o.setting("hflip", flip, "Probability, from 0 to 1, that a training image is flipped left to right.");
  o.between(0, 1);
  o.setting("resize", resize,
            "Short edge, in pixels, to which images are scaled before a crop of fixed size. 0: 8/7 of --image-size, or "
            "--image-size itself up to 64 pixels.");
  o.between(0, 4096);
  o.setting("mean", mean, "Value that is subtracted from 8-bit pixels: one number, or red,green,blue.");
  o.setting("scale", scale, "Factor by which pixels are multiplied after that: one number, or red,green,blue.");
  o.setting("shuffle-block", shuffle_block,
            "Number of consecutive records that are read as one block. 1: an exact global shuffle.");
  o.between(1, 1e9);
  o.setting("shuffle-window", shuffle_window, "Number of randomly chosen blocks whose records are shuffled together.");
  o.between(1, 1e9);
  o.setting("statistics-momentum", statistics_momentum,
            "Momentum of batch norm's running mean and variance, in MXNet's convention (PyTorch's is 1 minus it).");
  o.between(0, 0.9999);
  o.setting("backend", backend, "Compute backend: auto (the fastest that this machine has), cuda, cpu, reference.");
  o.setting(
      "recompute", recompute,
      "Recompute the outputs of batch norm in the backward pass instead of keeping them: less memory, more time.");
  o.setting("deterministic", deterministic,
            "Compute only in ways that give the same bits each time, where a backend has others: a GPU has, and "
            "they are faster (tests/bench/RESULTS.md).");
  o.setting(
      "plans", plans,
      "On a GPU, how to choose between several ways to compute a convolution. measured: the fastest; it is measured "
      "before the first step and kept for later runs. first: the one that the library recommends.");
  o.one_of({"measured", "first"});
  o.setting("limit-steps", limit_steps, "Stop after this number of steps. 0: train all epochs.");
  o.between(0, 1e15);
}

void TrainingSettings::check() const {
  if (lr == 0) throw UsageError({"a learning rate of 0 trains nothing", "lr", "use a number above 0"});
  if (input().short_edge() < image_size) {
    throw UsageError({"a short edge of " + std::to_string(resize) + " pixels is smaller than the crop of " +
                          std::to_string(image_size) + " pixels",
                      "resize", "use " + std::to_string(image_size) + " or more, or 0"});
  }
  if (loss_scale > 0 && std::exp2(std::round(std::log2(loss_scale))) != loss_scale) {
    throw UsageError({"the loss scale is not a power of two", "loss-scale", "use 1024, 65536 and the like, or 0"});
  }
  if (warmup_epochs >= static_cast<double>(epochs)) {
    throw UsageError(
        {"the warm-up is as long as the training or longer", "warmup-epochs", "use a number below epochs"});
  }
  if (schedule == "multistep" && milestones.empty()) {
    throw UsageError(
        {"a multi-step schedule needs milestones", "milestones", "set them, for example --milestones 30,60,80"});
  }
  const std::vector<Dtype> types = backend_types(backend);  // says why there is no such backend
  if (precision && std::find(types.begin(), types.end(), *precision) == types.end()) {
    throw UsageError({"this backend cannot compute in " + name_of(*precision) + " on this machine", "precision",
                      "use " + name_of(types.front()) + ", or --precision auto"});
  }
  for (const auto& word : milestones) number_from(word, "milestones");
}

Dtype TrainingSettings::preferred_precision() const { return precision ? *precision : backend_types(backend).front(); }

std::string TrainingSettings::augmentation_text() const {
  std::string text = crop;
  if (&crop_mode_from(crop) == &kRandomResizedCrop) {
    text += fmt::format(" of {:g} to 100 % of the area, to {} pixels", 100 * min_area, image_size);
  } else {
    text += fmt::format(" of {} pixels from a short edge of {}, padded by {}", image_size, input().short_edge(), pad);
  }
  text += flip > 0 ? fmt::format("; {:g} % are flipped left to right (--hflip)", 100 * flip) : "; none is flipped";
  return text + "; (pixel - " + joined(mean) + ") * " + joined(scale);
}

ImageInput TrainingSettings::input() const {
  ImageInput input;
  input.size = image_size;
  input.resize = resize;
  parse_channels(mean, "mean", input.mean);
  parse_channels(scale, "scale", input.scale);
  return input;
}

double TrainingSettings::warmup() const {
  return warmup_epochs >= 0 ? warmup_epochs : std::min(5.0, 0.1 * static_cast<double>(epochs));
}

int64_t TrainingSettings::last_step(int64_t steps_per_epoch) const {
  const int64_t total = total_steps(steps_per_epoch);
  return limit_steps > 0 ? std::min(limit_steps, total) : total;
}

LearningRateSchedule TrainingSettings::learning_rate(int64_t steps_per_epoch) const {
  LearningRateSchedule result;
  result.kind = schedule == "multistep" ? LearningRateSchedule::Kind::multi_step : LearningRateSchedule::Kind::cosine;
  result.base = lr;
  result.warmup_steps = steps_of(warmup(), steps_per_epoch);
  result.total_steps = total_steps(steps_per_epoch);
  for (const auto& word : milestones) {
    result.milestones.push_back(steps_of(number_from(word, "milestones"), steps_per_epoch));
  }
  result.factor = lr_factor;
  return result;
}

FeedOptions TrainingSettings::feed(const BatchPlan& plan, int64_t classes, int threads, bool training) const {
  FeedOptions options;
  options.plan = plan;
  options.shuffle = {seed, shuffle_block, shuffle_window};
  options.augment.size = image_size;
  options.augment.crop = &crop_mode_from(crop);
  options.augment.resize = input().short_edge();
  options.augment.min_area = min_area;
  options.augment.pad = pad;
  options.augment.flip = flip;
  options.augment.seed = seed;
  options.training = training;
  options.end_epoch = static_cast<uint64_t>(epochs);
  options.classes = classes;
  options.threads = threads;
  return options;
}

ExecutorOptions TrainingSettings::executor(const BatchPlan& plan, int threads) const {
  ExecutorOptions options;
  options.backend = backend;
  options.batch = static_cast<int64_t>(plan.rank_batch());
  options.ranks = plan.ranks;
  options.dtype = preferred_precision();
  options.recompute = recompute;
  options.deterministic = deterministic;
  options.measure = plans == "measured";
  options.threads = threads;
  constexpr float kFirst = 65536;
  constexpr int kUpdates = 2000;
  if (loss_scale > 0) {
    options.loss_scale = static_cast<float>(loss_scale);
  } else if (options.dtype == Dtype::f16) {
    options.loss_scale = kFirst;
    options.loss_scale_interval = kUpdates;
  }
  const ImageInput pixels = input();
  std::copy(std::begin(pixels.mean), std::end(pixels.mean), options.mean);
  std::copy(std::begin(pixels.scale), std::end(pixels.scale), options.scale);
  options.label_smoothing = static_cast<float>(label_smoothing);
  options.statistics_momentum = static_cast<float>(statistics_momentum);
  options.optimizer = optimizer;
  options.momentum = static_cast<float>(momentum);
  options.weight_decay = static_cast<float>(weight_decay);
  return options;
}

std::vector<std::string> differing_settings(const Json& before, const Json& now) {
  static const std::vector<std::string> kMayDiffer = {"backend",     "recompute",     "plans",
                                                      "limit-steps", "deterministic", "loss-scale"};
  std::vector<std::string> names;
  for (const auto& [name, value] : now.items()) {
    if (std::find(kMayDiffer.begin(), kMayDiffer.end(), name) != kMayDiffer.end()) continue;
    if (!before.contains(name) || before.at(name) != value) names.push_back(name);
  }
  return names;
}

}  // namespace packhorse

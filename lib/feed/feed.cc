#include "feed/feed.h"

#include <algorithm>
#include <optional>
#include <string>

#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "image/decode.h"

namespace packhorse {
namespace {

/// Buffers that a thread reuses for every image.
struct Scratch {
  std::vector<std::byte> record;
  DecodedImage image;
};

uint64_t pixels_per_image(const FeedOptions& options) {
  return static_cast<uint64_t>(options.augment.size) * static_cast<uint64_t>(options.augment.size) * 3;
}

}  // namespace

/// Runs on the ring's thread. The arena's threads, including that one, decode the images.
struct Feed::Filler {
  Filler(const ShardReader& reader, const FeedOptions& given)
      : shards(reader), options(given), arena(std::clamp(given.threads, 1, tbb::this_task_arena::max_concurrency())) {
    epoch = options.first_epoch;
    step = options.first_step;
  }

  uint64_t steps() const { return options.training ? options.plan.training_steps() : options.plan.evaluation_steps(); }

  bool fill(Batch& batch) {
    while (step >= steps()) {
      step = 0;
      order.reset();
      if (!options.training || ++epoch >= options.end_epoch) return false;
    }
    if (options.training && epoch >= options.end_epoch) return false;
    if (options.training && !order) {
      order.emplace(options.plan.records, options.shuffle, epoch);
      prefetched_slots = order->window_of(options.plan.position(step, 0)) * order->slots_per_window();
    }
    prefetch();
    batch.epoch = epoch;
    batch.step = step;
    const uint64_t count = options.plan.rank_batch();
    arena.execute([&] { tbb::parallel_for(uint64_t{0}, count, [&](uint64_t index) { place(batch, index); }); });
    ++step;
    return true;
  }

  void place(Batch& batch, uint64_t index) {
    const uint64_t position = options.plan.position(step, index);
    uint8_t* dst = batch.pixels.data() + index * pixels_per_image(options);
    if (position >= options.plan.records) {
      std::fill_n(dst, pixels_per_image(options), uint8_t{0});
      batch.labels[index] = -1;
      batch.ids[index] = UINT64_MAX;
      return;
    }
    const uint64_t number = options.training ? order->at(position) : position;
    Scratch& mine = scratch.local();
    const Record record = shards.read(number, mine.record);
    if (static_cast<int64_t>(record.label) >= options.classes) {
      throw DamageError({"label " + std::to_string(record.label) + " is out of range for " +
                             std::to_string(options.classes) + " classes",
                         shards.name_of(number), "pack again: these shards belong to another class table"});
    }
    try {
      const Size image = read_image_size(record.image);
      const Crop crop = options.training ? training_crop(options.augment, image.width, image.height, epoch, record.id)
                                         : evaluation_crop(options.augment, image.width, image.height);
      decode_crop(record.image, image, crop, options.augment.size, mine.image, dst);
    } catch (const Error& error) {
      throw DamageError({error.text().what, shards.name_of(number) + " (image " + std::to_string(record.id) + ")",
                         "list every damaged record with packhorse-verify, and pack again from the original images"});
    }
    batch.labels[index] = static_cast<int32_t>(record.label);
    batch.ids[index] = record.id;
  }

  /// Prefetches the blocks of the next window evenly while this one is used, so that reads do not come in bursts.
  void prefetch() {
    if (!order) return;
    const uint64_t position = options.plan.position(step, 0);
    const uint64_t window = order->window_of(position);
    const uint64_t begin = order->window_begin(window), end = order->window_begin(window + 1);
    const uint64_t part = order->slots_per_window() * (position - begin) / (end - begin);
    const uint64_t target = std::min(order->slots(), (window + 1) * order->slots_per_window() + part);
    for (; prefetched_slots < target; ++prefetched_slots) {
      const auto run = order->run(prefetched_slots);
      shards.will_need(run.first, run.count);
    }
  }

  const ShardReader& shards;
  const FeedOptions options;
  tbb::task_arena arena;
  tbb::enumerable_thread_specific<Scratch> scratch;
  uint64_t epoch = 0, step = 0;
  std::optional<EpochOrder> order;
  uint64_t prefetched_slots = 0;
};

Feed::Feed(const ShardReader& shards, const FeedOptions& options, Device& device) {
  options.plan.check(options.training);
  if (options.augment.resize < options.augment.size) {
    throw UsageError({"a short edge of " + std::to_string(options.augment.resize) +
                          " pixels is smaller than the crop of " + std::to_string(options.augment.size) + " pixels",
                      "resize", "use the value of image-size or more"});
  }
  filler_ = std::make_unique<Filler>(shards, options);
  std::vector<std::unique_ptr<Batch>> batches;
  const uint64_t count = options.plan.rank_batch();
  for (int i = 0; i < std::max(2, options.depth); ++i) {
    auto batch = std::make_unique<Batch>();
    batch->pixels = HostArray<uint8_t>(device, count * pixels_per_image(options));
    batch->labels = HostArray<int32_t>(device, count);
    batch->ids.resize(count);
    batches.push_back(std::move(batch));
  }
  ring_ = std::make_unique<BatchRing>(std::move(batches), [this](Batch& batch) { return filler_->fill(batch); });
}

Feed::~Feed() = default;

const Batch* Feed::next() {
  const Stopwatch clock;
  const Batch* batch = ring_->next();
  waited_ += clock.seconds();
  return batch;
}

void Feed::keep_until(const Event& taken) { ring_->keep_until(taken); }

uint64_t Feed::memory_bytes(const FeedOptions& options) {
  const uint64_t image = pixels_per_image(options) + sizeof(int32_t) + sizeof(uint64_t);
  return static_cast<uint64_t>(std::max(2, options.depth)) * options.plan.rank_batch() * image;
}

}  // namespace packhorse

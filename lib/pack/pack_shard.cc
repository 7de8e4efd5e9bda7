#include "pack/pack_shard.h"

#include <future>
#include <memory>

#include "base/error.h"
#include "base/in_order.h"
#include "record/recordio.h"
#include "record/shard_writer.h"

namespace packhorse {
namespace {

/// The result for one image: a record, or the reason why there is none.
struct Outcome {
  const ImageEntry* image = nullptr;
  std::vector<std::byte> record;
  std::string reason;
};

Outcome pack_image(const ImageEntry& image, const ImageReader& reader, const Preparation& preparation) {
  Outcome outcome{&image, {}, {}};
  try {
    const std::vector<std::byte> bytes = read_and_prepare(image, reader, preparation);
    append_record(image.id, image.label, bytes, outcome.record);
  } catch (const ArchiveError&) {
    throw;  // thousands of images are missing, not just one is broken
  } catch (const SystemError&) {
    throw;  // nor is this one broken
  } catch (const Error& error) {
    outcome.reason = error.text().what;
  }
  return outcome;
}

/// Writes a shard, except for its final flush.
PackedShard fill_shard(const ShardJob& job, const Preparation& preparation, int threads, Progress& progress,
                       ShardWriter& writer) {
  PackedShard shard;
  for_each_in_order(
      job.images.size(), threads, [&](uint64_t i) { return pack_image(job.images[i], *job.reader, preparation); },
      [&](const Outcome& outcome) {
        if (outcome.reason.empty()) {
          writer.append_made(outcome.image->id, outcome.record);
        } else {
          shard.refused.push_back({outcome.image->id, outcome.image->label, outcome.image->name(), outcome.reason});
        }
        progress.add();
      });
  shard.records = writer.records();
  shard.rec = writer.rec_facts();
  shard.idx = writer.idx_facts();
  return shard;
}

}  // namespace

uint64_t packing_memory(int threads, uint64_t image_bytes, uint64_t image_pixels) {
  const auto count = static_cast<uint64_t>(threads);
  return count * (kInFlightPerThread * 2 * image_bytes + 3 * 3 * image_pixels);
}

std::vector<std::byte> read_and_prepare(const ImageEntry& image, const ImageReader& reader,
                                        const Preparation& preparation) {
  std::vector<std::byte> bytes;
  reader.read(image, bytes);
  prepare_image(bytes, preparation);
  return bytes;
}

std::vector<PackedShard> pack_shards(const std::vector<ShardJob>& jobs, const Preparation& preparation, int threads,
                                     Progress& progress) {
  std::vector<PackedShard> shards;
  std::future<void> flushing;  // of the previous shard; at most one, so that packing waits for a slow disk
  for (const ShardJob& job : jobs) {
    auto writer = std::make_unique<ShardWriter>(job.to.rec, job.to.idx);
    shards.push_back(fill_shard(job, preparation, threads, progress, *writer));
    if (flushing.valid()) flushing.get();
    flushing = std::async(std::launch::async, [writer = std::move(writer)] { writer->commit(); });
  }
  if (flushing.valid()) flushing.get();
  return shards;
}

}  // namespace packhorse

#include "source/pack_shard.h"

#include "base/error.h"
#include "record/recordio.h"
#include "record/shard_writer.h"
#include "source/in_order.h"

namespace packhorse {
namespace {

/// What one image became: a record, or a reason.
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
    throw;  // thousands of pictures are gone, not one is broken
  } catch (const Error& error) {
    outcome.reason = error.text().what;
  }
  return outcome;
}

}  // namespace

uint64_t packing_memory(int threads, uint64_t picture_bytes, uint64_t picture_pixels) {
  const auto count = static_cast<uint64_t>(threads);
  return count * (kInFlightPerThread * 2 * picture_bytes + 3 * 3 * picture_pixels);
}

std::vector<std::byte> read_and_prepare(const ImageEntry& image, const ImageReader& reader,
                                        const Preparation& preparation) {
  std::vector<std::byte> bytes;
  reader.read(image, bytes);
  prepare_picture(bytes, preparation);
  return bytes;
}

PackedShard pack_shard(std::span<const ImageEntry> images, const ImageReader& reader, const Preparation& preparation,
                       int threads, const ShardPath& to, Progress& progress) {
  ShardWriter writer(to.rec, to.idx);
  PackedShard shard;
  for_each_in_order(
      images.size(), threads, [&](uint64_t i) { return pack_image(images[i], reader, preparation); },
      [&](const Outcome& outcome) {
        if (outcome.reason.empty()) {
          writer.append_made(outcome.image->id, outcome.record);
        } else {
          shard.refused.push_back({outcome.image->id, outcome.image->label, outcome.image->name(), outcome.reason});
        }
        progress.add();
      });
  writer.commit();
  shard.records = writer.records();
  shard.rec = writer.rec_facts();
  shard.idx = writer.idx_facts();
  return shard;
}

}  // namespace packhorse

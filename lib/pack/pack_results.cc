#include "pack/pack_results.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/core.h>

#include "base/error.h"
#include "base/stopwatch.h"

namespace packhorse {
namespace {

/// One line per shard, followed by one line per refused image.
void read_results(const std::string& text, std::vector<ShardResult>& results) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    ShardResult result;
    PackedShard& packed = result.packed;
    uint64_t refused = 0;
    std::istringstream(line) >> result.list >> result.shard >> packed.records >> packed.rec.bytes >>
        packed.rec.crc32c >> packed.idx.bytes >> packed.idx.crc32c >> refused;
    for (; refused > 0 && std::getline(lines, line); --refused) {
      RefusedImage image;
      std::istringstream fields(line);
      fields >> image.id >> image.label;
      fields.ignore();  // the tab
      std::getline(fields, image.name, '\t');
      std::getline(fields, image.reason);
      packed.refused.push_back({image.id, image.label, unescape_name(image.name), unescape_name(image.reason)});
    }
    results.push_back(std::move(result));
  }
}

}  // namespace

std::string text_of(const std::vector<ShardResult>& results) {
  std::string text;
  for (const ShardResult& each : results) {
    const PackedShard& packed = each.packed;
    text += fmt::format("{} {} {} {} {} {} {} {}\n", each.list, each.shard, packed.records, packed.rec.bytes,
                        packed.rec.crc32c, packed.idx.bytes, packed.idx.crc32c, packed.refused.size());
    for (const RefusedImage& refused : packed.refused) {
      text += fmt::format("{}\t{}\t{}\t{}\n", refused.id, refused.label, escape_name(refused.name),
                          escape_name(refused.reason));
    }
  }
  return text;
}

std::vector<ShardResult> results_from(const std::vector<std::string>& texts) {
  std::vector<ShardResult> results;
  for (const std::string& text : texts) read_results(text, results);
  std::sort(results.begin(), results.end(), [](const ShardResult& a, const ShardResult& b) {
    return std::pair(a.list, a.shard) < std::pair(b.list, b.shard);
  });
  return results;
}

FileEntry write_quarantine(const std::vector<std::string>& splits, const std::vector<ShardResult>& results,
                           const std::filesystem::path& path) {
  OutputFile file(path);
  uint64_t lines = 0;
  for (const ShardResult& each : results) {
    for (const RefusedImage& refused : each.packed.refused) {
      file.write(fmt::format("{}\t{}\t{}\t{}\t{}\n", splits[each.list], refused.id, refused.label,
                             escape_name(refused.name), escape_name(refused.reason)));
      ++lines;
    }
  }
  file.commit();
  return {"quarantine", path, file.bytes(), file.crc32c(), lines};
}

uint64_t broken_allowed(uint64_t listed, double limit) {
  if (limit <= 0) return 0;
  return std::max(static_cast<uint64_t>(limit * static_cast<double>(listed)), std::min(kFewBroken, listed / 10));
}

std::vector<uint32_t> classes_lost(std::span<const ImageEntry> images, size_t list,
                                   const std::vector<ShardResult>& results) {
  std::map<uint32_t, uint64_t> refused;
  for (const ShardResult& each : results) {
    if (each.list != list) continue;
    for (const RefusedImage& image : each.packed.refused) ++refused[image.label];
  }
  if (refused.empty()) return {};
  std::map<uint32_t, uint64_t> listed;
  for (const ImageEntry& image : images) ++listed[image.label];
  std::vector<uint32_t> lost;
  for (const auto& [label, count] : refused)
    if (count == listed[label]) lost.push_back(label);
  return lost;
}

Probe probe_packing(std::span<const ImageEntry> images, const ImageReader& reader, const Preparation& preparation) {
  constexpr uint64_t kMax = 200;
  constexpr double kSeconds = 2;
  const uint64_t count = std::min<uint64_t>(kMax, images.size());
  const Stopwatch clock;
  Probe probe;
  for (uint64_t i = 0; i < count && probe.seconds < kSeconds; ++i) {
    try {
      const ImageEntry& image = images[images.size() * i / count];
      probe.bytes += static_cast<double>(read_and_prepare(image, reader, preparation).size());
    } catch (const Error&) {
      ++probe.broken;  // this took time, too
    }
    ++probe.images;
    probe.seconds = clock.seconds();
  }
  return probe;
}

}  // namespace packhorse

// packhorse-pack: from lists to shards, on any number of ranks and threads, with the same bytes whatever their number.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <regex>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "manifest/class_table.h"
#include "manifest/stage.h"
#include "ranks/world.h"
#include "source/pack_results.h"
#include "source/pack_shard.h"
#include "source/source.h"

#include <fmt/core.h>

namespace packhorse {
namespace {
namespace fs = std::filesystem;

constexpr const char* kAbout =
    "Packs listed images into shards: checks every picture, shrinks it where asked, and sets aside in quarantine.tsv "
    "what is broken. Shards are MXNet RecordIO files with a checksum in each record. JPEGs that need not shrink keep "
    "their bytes; their EXIF rotation is not applied.";
constexpr const char* kExample =
    "  packhorse-pack runs/imagenet-21k/list/manifest.json --resize 256 --quality 90 --shards 256\n"
    "  mpirun -n 4 packhorse-pack runs/imagenet-21k/list/manifest.json";

struct Settings {
  int shards = 8, validation_shards = 0;
  Preparation preparation;
  std::string check = "decode";
  double quarantine_limit = 0.001;
  std::string train_source, validation_source;
  int threads = 0;
};

void add_options(Options& options, Settings& settings) {
  options.setting("shards", settings.shards, "files for the training images");
  options.between(1, 99999);
  options.setting("validation-shards", settings.validation_shards,
                  "files for the validation images (0: in proportion)");
  options.between(0, 99999);
  options.setting("resize", settings.preparation.short_edge, "shrink larger pictures to this short edge (0: never)");
  options.between(0, 8192);
  options.setting("quality", settings.preparation.quality, "JPEG quality of what is encoded again");
  options.between(1, 100);
  options.setting("check", settings.check, "of JPEGs that pass through: decode all of it, or the header and the end");
  options.one_of({"decode", "header"});
  options.setting("quarantine-limit", settings.quarantine_limit,
                  "share of the images that may be broken (in a small set: up to 16, at most a tenth; 0: none)");
  options.between(0, 1);
  options.setting("train-source", settings.train_source, "where the images are now, if they were moved after listing");
  options.setting("validation-source", settings.validation_source, "the same for validation");
  options.run_option("threads", settings.threads, "threads of each rank (0: its share of the cores)");
}

/// One list and the shards it becomes.
struct Split {
  std::string name;
  std::vector<ImageEntry> images;
  uint64_t shards = 0;
  fs::path root;

  std::span<const ImageEntry> part(uint64_t shard) const {
    const uint64_t begin = images.size() * shard / shards, end = images.size() * (shard + 1) / shards;
    return std::span(images).subspan(begin, end - begin);
  }
  ShardPath path(const fs::path& folder, uint64_t shard) const {
    const fs::path stem = folder / fmt::format("{}-{:05d}-of-{:05d}", name, shard, shards);
    return {stem.string() + ".rec", stem.string() + ".idx"};
  }
};

std::string source_setting(const Stage& stage, const std::string& name, const std::string& given) {
  std::string source = !given.empty() ? fs::absolute(given).lexically_normal().string()
                                      : json_member<std::string>(stage.input().settings, name, "the list's manifest");
  if (!source.empty() && !fs::exists(source)) {
    throw Error({"the images' source is not there", source, "mount it, or say with --" + name + " where it is now"});
  }
  return source;
}

/// Reads the lists and settles what the settings left open.
std::vector<Split> read_splits(Stage& stage, Settings& settings) {
  std::vector<Split> splits;
  settings.train_source = source_setting(stage, "train-source", settings.train_source);
  settings.validation_source = source_setting(stage, "validation-source", settings.validation_source);
  for (const std::string name : {"train", "validation"}) {
    for (const FileEntry& list : stage.input().outputs_of(name + "-list")) {
      check_file(list, stage.input().path, true);
      Split split{name, read_image_list(list.path), 0, {}};
      const bool own = name == "validation" && !settings.validation_source.empty();
      split.root = root_of_source(own ? settings.validation_source : settings.train_source);
      splits.push_back(std::move(split));
    }
  }
  if (splits.empty())
    throw Error({"the manifest names no list", stage.input().path.string(), "run packhorse-list again"});
  const uint64_t train = splits.front().images.size();
  for (Split& split : splits) {
    const bool first = &split == &splits.front();
    const uint64_t asked = first ? settings.shards
                           : settings.validation_shards > 0
                               ? settings.validation_shards
                               : settings.shards * split.images.size() / std::max<uint64_t>(1, train);
    split.shards = std::clamp<uint64_t>(asked, 1, std::max<size_t>(1, split.images.size()));
  }
  settings.preparation.decode_check = settings.check == "decode";
  stage.manifest().settings = stage.options.settings();
  return splits;
}

void show_plan(const Stage& stage, const Settings& settings, const std::vector<Split>& splits, int threads, int ranks) {
  double bytes = 0, seconds = 0, images = 0, largest = 0;
  for (const Split& split : splits) {
    const Probe seen = probe_packing(split.images, ImageReader(split.root), settings.preparation);
    const auto count = static_cast<double>(split.images.size());
    const double mean = seen.bytes / std::max(1.0, seen.images);
    fmt::print("{:<12}{} images of {} from {} into {} shards\n", split.name, grouped(split.images.size()),
               bytes_text(mean), split.root.string(), split.shards);
    bytes += count * (mean + 50);  // framing, header and the index's line
    seconds += count * seen.seconds / std::max(1.0, seen.images);
    images += count;
    largest = std::max(largest, mean);
  }
  const auto memory =
      static_cast<double>(packing_memory(threads, static_cast<uint64_t>(largest), 1 << 20)) + 250 * images;
  fmt::print("needs       {} on disk in {}\n", bytes_text(bytes), stage.out().string());
  fmt::print("            {} of memory a rank; {} ranks of {} threads\n", bytes_text(memory), ranks, threads);
  fmt::print("time        about {}, by a sample on one thread\n", duration_text(seconds / threads / ranks));
}

// ---- work and what is told of it ----

/// A run before this one may have had other shards, finished or not: they go.
void remove_old_shards(const fs::path& out) {
  static const std::regex kShard("(train|validation)-[0-9]{5}-of-[0-9]{5}\\.(rec|idx)(\\.part)?");
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(out)) {
    if (std::regex_match(entry.path().filename().string(), kShard)) old.push_back(entry.path());
  }
  for (const fs::path& path : old) fs::remove(path);
}

/// Shard after shard in turn to each rank.
std::vector<ShardResult> pack_own_shards(const std::vector<Split>& splits, const Settings& settings,
                                         const fs::path& out, int threads, const World& world) {
  std::vector<std::unique_ptr<ImageReader>> readers;
  std::vector<ShardResult> results;
  std::vector<ShardJob> jobs;
  uint64_t images = 0, number = 0;
  for (size_t s = 0; s < splits.size(); ++s) {
    const Split& split = splits[s];
    readers.push_back(std::make_unique<ImageReader>(split.root));
    for (uint64_t shard = 0; shard < split.shards; ++shard, ++number) {
      if (number % static_cast<uint64_t>(world.size()) != static_cast<uint64_t>(world.rank())) continue;
      results.push_back({s, shard, {}});
      jobs.push_back({split.part(shard), readers.back().get(), split.path(out, shard)});
      images += jobs.back().images.size();
    }
  }
  Progress progress(world.size() > 1 ? fmt::format("pack (rank 0 of {})", world.size()) : "pack", "images", images,
                    world.rank() != 0);
  std::vector<PackedShard> packed = pack_shards(jobs, settings.preparation, threads, progress);
  for (size_t i = 0; i < packed.size(); ++i) results[i].packed = std::move(packed[i]);
  return results;
}

/// Names shards in the manifest and counts; listed = packed + quarantined, or the run does not count as done.
void record_results(Stage& stage, const std::vector<Split>& splits, const std::vector<ShardResult>& results) {
  StageManifest& manifest = stage.manifest();
  uint64_t listed = 0, packed = 0, quarantined = 0;
  Json counts = Json::object();
  for (const ShardResult& each : results) {
    const Split& split = splits[each.split];
    const ShardPath path = split.path(stage.out(), each.shard);
    const PackedShard& shard = each.packed;
    manifest.outputs.push_back({split.name + "-shard", path.rec, shard.rec.bytes, shard.rec.crc32c, shard.records});
    manifest.outputs.push_back({split.name + "-index", path.idx, shard.idx.bytes, shard.idx.crc32c, shard.records});
    if (each.shard == 0) {
      listed += split.images.size();
      counts[split.name] = {{"listed", split.images.size()}, {"packed", 0}, {"quarantined", 0}};
    }
    Json& own = counts[split.name];
    own["packed"] = own["packed"].get<uint64_t>() + shard.records;
    own["quarantined"] = own["quarantined"].get<uint64_t>() + shard.refused.size();
    packed += shard.records;
    quarantined += shard.refused.size();
  }
  manifest.counts = {{"listed", listed}, {"packed", packed}, {"quarantined", quarantined}};
  manifest.counts.update(counts);
  if (packed + quarantined != listed) {
    throw Error({fmt::format("{} images listed, but {} packed and {} quarantined", listed, packed, quarantined),
                 stage.out().string(), "this is a defect of packhorse-pack; please report it"});
  }
}

/// Rank 0's: quarantine, class table, manifest, and the last line.
void conclude(Stage& stage, const Settings& settings, const std::vector<Split>& splits,
              const std::vector<std::string>& gathered, int ranks) {
  const std::vector<ShardResult> results = results_from(gathered);
  const fs::path& out = stage.out();
  record_results(stage, splits, results);
  StageManifest& manifest = stage.manifest();
  const FileEntry table = stage.input().output_of("class-table");
  ClassTable::load(table.path).save(out / "classes.tsv");
  manifest.outputs.push_back(describe_file("class-table", out / "classes.tsv", table.records));
  std::vector<std::string> names;
  names.reserve(splits.size());
  for (const Split& split : splits) names.push_back(split.name);
  const FileEntry quarantine = write_quarantine(names, results, out / "quarantine.tsv");
  manifest.outputs.push_back(quarantine);
  const auto listed = manifest.counts["listed"].get<uint64_t>(), packed = manifest.counts["packed"].get<uint64_t>();
  const uint64_t allowed = broken_allowed(listed, settings.quarantine_limit);
  if (quarantine.records > allowed) {
    throw Error(
        {fmt::format("{} of {} images are broken, more than the {} that a limit of {:g} % allows",
                     grouped(quarantine.records), grouped(listed), grouped(allowed), 100 * settings.quarantine_limit),
         quarantine.path.string(), "read the reasons there; mend the images, or raise --quarantine-limit"});
  }
  stage.finish(ranks);
  uint64_t shards = 0;
  for (const Split& split : splits) shards += split.shards;
  fmt::print("packed {} of {} images in {} shards, quarantined {}, {}\n", grouped(packed), grouped(listed), shards,
             grouped(quarantine.records), duration_text(stage.seconds()));
}

int run(World& world, int argc, char** argv) {
  Settings settings;
  Stage stage("pack", kAbout, kExample);
  add_options(stage.options, settings);
  stage.begin(argc, argv, {"list"});
  const std::vector<Split> splits = read_splits(stage, settings);
  const FileEntry table = stage.input().output_of("class-table");
  check_file(table, stage.input().path, true);
  if (ClassTable::load(table.path).crc32c() != stage.input().classes_crc32c) {
    throw DamageError({"the class table is not the one that the lists' labels belong to", table.path.string(),
                       "run packhorse-list again"});
  }
  const int threads = settings.threads > 0 ? settings.threads : share_cores(world.local_size()).feed;
  if (stage.plan()) {
    if (world.rank() == 0) show_plan(stage, settings, splits, threads, world.size());
    return kExitOk;
  }
  if (world.rank() == 0) {
    make_folder(stage.out());
    if (!stage.retire_manifest()) remove_old_shards(stage.out());
  }
  world.barrier();
  const auto results = pack_own_shards(splits, settings, stage.out(), threads, world);
  const auto gathered = world.gather(text_of(results));
  if (world.rank() == 0) conclude(stage, settings, splits, gathered, world.size());
  return kExitOk;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  return packhorse::run_ranked_stage([&](packhorse::World& world) { return packhorse::run(world, argc, argv); });
}

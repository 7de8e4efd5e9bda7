#include "pack/pack_run.h"

#include <algorithm>
#include <memory>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "classes/class_table.h"
#include "image/resample.h"
#include "pack/already_packed.h"
#include "pack/pack_results.h"
#include "pack/pack_shard.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

std::string checked_source(const std::string& name, const fs::path& source) {
  if (!fs::exists(source)) {
    throw Error(
        {"the source of the images is missing", source.string(), "mount it, or give its new path with --" + name});
  }
  return source.string();
}

/// What was listed, where it is now: at a new place that is given, else where the list's manifest says.
std::string source_setting(Stage& stage, const std::string& name, const std::string& given) {
  if (!given.empty()) return checked_source(name, settle_path(stage, name, given));
  const auto listed = json_member<std::string>(stage.input().settings, name, "the list's manifest");
  if (listed.empty()) return "";
  return checked_source(name, described_path(listed, stage.input().dataset_folder));
}

/// A list that was edited, with its checksum, must not get past: its images would be of no class.
void check_labels(const std::vector<PackedList>& lists, const ClassTable& classes) {
  for (const PackedList& list : lists) {
    for (const ImageEntry& image : list.images) {
      if (image.label < classes.size()) continue;
      throw DamageError({fmt::format("image {} ('{}') has label {}, but there are {}", image.id, image.name(),
                                     image.label, counted(classes.size(), "class")),
                         "the list of " + list.split + " images", "list the images again"});
    }
  }
}

/// As many shards as requested, but at least one image in each.
void set_shards(const PackSettings& settings, std::vector<PackedList>& lists) {
  const uint64_t train = lists.front().images.size();
  for (PackedList& list : lists) {
    const auto in_proportion = settings.shards * list.images.size() / std::max<uint64_t>(1, train);
    uint64_t requested = settings.shards;
    if (&list != &lists.front()) {
      requested = settings.validation_shards > 0 ? settings.validation_shards : in_proportion;
    }
    list.shards = std::clamp<uint64_t>(requested, 1, std::max<size_t>(1, list.images.size()));
  }
}

int threads_of(const PackSettings& settings, const World& world) {
  return settings.threads > 0 ? settings.threads : share_cores(world.local_size()).feed;
}

/// Packs this rank's shards: shard i of all lists goes to rank i modulo the number of ranks.
std::vector<ShardResult> pack_own_shards(const std::vector<PackedList>& lists, const PackSettings& settings,
                                         const fs::path& out, const World& world) {
  std::vector<std::unique_ptr<ImageReader>> readers;
  std::vector<ShardResult> results;
  std::vector<ShardJob> jobs;
  uint64_t images = 0, number = 0;
  for (size_t i = 0; i < lists.size(); ++i) {
    const PackedList& list = lists[i];
    readers.push_back(std::make_unique<ImageReader>(list.source));
    for (uint64_t shard = 0; shard < list.shards; ++shard, ++number) {
      if (number % static_cast<uint64_t>(world.size()) != static_cast<uint64_t>(world.rank())) continue;
      results.push_back({i, shard, {}});
      jobs.push_back({list.images_of(shard), readers.back().get(), list.path_of(out, shard)});
      images += jobs.back().images.size();
    }
  }
  Progress progress(world.size() > 1 ? fmt::format("pack (rank 0 of {})", world.size()) : "pack", "images", images,
                    !world.is_root());
  std::vector<PackedShard> packed = pack_shards(jobs, settings.preparation, threads_of(settings, world), progress);
  for (size_t i = 0; i < packed.size(); ++i) results[i].packed = std::move(packed[i]);
  return results;
}

/// Adds the shards and the counts of their images to the manifest.
void add_shards(Stage& stage, const std::vector<PackedList>& lists, const std::vector<ShardResult>& results) {
  StageManifest& manifest = stage.manifest();
  uint64_t listed = 0, packed = 0, quarantined = 0;
  Json counts = Json::object();
  for (const ShardResult& each : results) {
    const PackedList& list = lists[each.list];
    const ShardPath path = list.path_of(stage.work(), each.shard);
    const PackedShard& shard = each.packed;
    manifest.outputs.push_back({list.split + "-shard", path.rec, shard.rec.bytes, shard.rec.crc32c, shard.records});
    manifest.outputs.push_back({list.split + "-index", path.idx, shard.idx.bytes, shard.idx.crc32c, shard.records});
    if (each.shard == 0) {
      listed += list.images.size();
      counts[list.split] = {{"listed", list.images.size()}, {"packed", 0}, {"quarantined", 0}};
    }
    Json& own = counts[list.split];
    own["packed"] = own["packed"].get<uint64_t>() + shard.records;
    own["quarantined"] = own["quarantined"].get<uint64_t>() + shard.refused.size();
    packed += shard.records;
    quarantined += shard.refused.size();
  }
  manifest.counts = {{"listed", listed}, {"packed", packed}, {"quarantined", quarantined}};
  manifest.counts.update(counts);
  if (packed + quarantined != listed) {
    throw Error({fmt::format("{} images are listed, but {} packed and {} quarantined", listed, packed, quarantined),
                 stage.out().string(), "report this defect of packhorse-pack"});
  }
}

[[noreturn]] void throw_too_many_broken(const fs::path& reasons, uint64_t broken, uint64_t listed, double limit) {
  throw Error({fmt::format("{} of {} images are broken, more than the {} that a limit of {:g} % allows",
                           grouped(broken), grouped(listed), grouped(broken_allowed(listed, limit)), 100 * limit),
               reasons.string(), "read the reasons there; repair the images, or raise --quarantine-limit"});
}

std::string result_text(const StageManifest& manifest) {
  const auto count = [&](const char* name) { return manifest.counts.at(name).get<uint64_t>(); };
  const auto shards = std::count_if(manifest.outputs.begin(), manifest.outputs.end(),
                                    [](const FileEntry& file) { return file.role.ends_with("-shard"); });
  return fmt::format("packed {} of {} in {}, quarantined {}, {}", grouped(count("packed")),
                     counted(count("listed"), "image"), counted(static_cast<uint64_t>(shards), "shard"),
                     grouped(count("quarantined")), duration_text(manifest.seconds));
}

/// Names the classes of which nothing is left to train on.
void report_lost_classes(StageManifest& manifest, const ClassTable& classes, const std::vector<PackedList>& lists,
                         const std::vector<ShardResult>& results) {
  constexpr size_t kNamed = 10;
  std::vector<std::string> ids;
  for (const uint32_t label : classes_lost(lists.front().images, 0, results)) ids.push_back(classes[label].id);
  manifest.counts["classes_lost"] = ids;
  if (ids.empty()) return;
  const std::string count = counted(ids.size(), "class");
  if (ids.size() > kNamed) ids.resize(kNamed), ids.emplace_back("...");
  log_warning("every training image of " + count + " is broken, so that nothing can be learned about it: " +
              joined(ids) + "; quarantine.tsv has the reasons");
}

/// Rank 0 only: writes quarantine, class table and manifest. Returns the last line to print.
std::string finish(Stage& stage, const PackSettings& settings, const std::vector<PackedList>& lists,
                   const std::vector<ShardResult>& results, int ranks) {
  add_shards(stage, lists, results);
  StageManifest& manifest = stage.manifest();
  const FileEntry table = stage.input().output_of("class-table");
  if (settings.preparation.short_edge > 0) manifest.resampling = kResampling;
  const ClassTable classes = ClassTable::load(table.path);
  classes.save(stage.work() / "classes.tsv");
  manifest.outputs.push_back(describe_file("class-table", stage.work() / "classes.tsv", table.records));
  std::vector<std::string> splits;
  splits.reserve(lists.size());
  for (const PackedList& list : lists) splits.push_back(list.split);
  const FileEntry quarantine = write_quarantine(splits, results, stage.work() / "quarantine.tsv");
  manifest.outputs.push_back(quarantine);
  const auto listed = manifest.counts["listed"].get<uint64_t>();
  if (quarantine.records > broken_allowed(listed, settings.quarantine_limit)) {
    // The reasons are all that stays of this run.
    const fs::path kept = stage.out() / "quarantine-refused.tsv";
    rename_durably(quarantine.path, kept);
    throw_too_many_broken(kept, quarantine.records, listed, settings.quarantine_limit);
  }
  report_lost_classes(manifest, classes, lists, results);
  stage.finish(ranks);
  return result_text(manifest);
}

}  // namespace

void PackSettings::declare(Options& options) {
  options.setting("shards", shards, "Number of shards for the training images.");
  options.between(1, 99999);
  options.setting("validation-shards", validation_shards,
                  "Number of shards for the validation images. 0: in proportion to the training images.");
  options.between(0, 99999);
  options.setting("resize", preparation.short_edge,
                  "Shrink larger images to this many pixels on their short edge. 0: do not shrink.");
  options.between(0, 8192);
  options.setting("quality", preparation.quality, "JPEG quality (1 to 100) of images that are re-encoded.");
  options.between(1, 100);
  options.setting(
      "check", check,
      "How to check a JPEG that is stored unchanged: decode all of it, or look only at its header and end.");
  options.one_of({"decode", "header"});
  options.setting("quarantine-limit", quarantine_limit,
                  "Fraction of the images that may be broken before packing fails, from 0 to 1. A small set may always "
                  "have up to 16, but at most a tenth; 0 allows none.");
  options.between(0, 1);
  options.setting("train-source", train_source, "New path of the training images, if they moved after listing.");
  options.setting("validation-source", validation_source,
                  "New path of the validation images, if they moved after listing.");
  options.run_option("threads", threads, "Threads of each rank. 0: the rank's share of the cores.");
}

std::vector<PackedList> read_lists(Stage& stage, PackSettings& settings) {
  settings.train_source = source_setting(stage, "train-source", settings.train_source);
  settings.validation_source = source_setting(stage, "validation-source", settings.validation_source);
  std::vector<PackedList> lists;
  for (const std::string split : {"train", "validation"}) {
    for (const FileEntry& file : stage.input().outputs_of(split + "-list")) {
      check_file(file, stage.input().path, true);
      const bool own = split == "validation" && !settings.validation_source.empty();
      PackedList list;
      list.split = split;
      list.images = read_image_list(file.path);
      list.source = own ? settings.validation_source : settings.train_source;
      lists.push_back(std::move(list));
    }
  }
  if (lists.empty()) {
    throw Error({"the manifest has no image list", stage.input().path.string(), "run packhorse-list again"});
  }
  set_shards(settings, lists);
  settings.preparation.decode_check = settings.check == "decode";
  stage.manifest().settings = stage.options.settings();
  check_labels(lists, load_class_table(stage.input()));
  return lists;
}

StagePlan planned(const Stage& stage, const PackSettings& settings, const std::vector<PackedList>& lists,
                  const World& world) {
  constexpr double kFramingBytes = 50;    // per record: framing, header and its line in the index
  constexpr double kListBytes = 250;      // of memory per listed image
  constexpr uint64_t kPixels = 1U << 20;  // of a large image
  const int threads = threads_of(settings, world);
  double bytes = 0, seconds = 0, images = 0, largest = 0;
  StagePlan plan;
  plan.reads = {stage.input().path};
  for (const PackedList& list : lists) {
    const Probe probe = probe_packing(list.images, ImageReader(list.source), settings.preparation);
    const auto count = static_cast<double>(list.images.size());
    const double mean = probe.bytes / std::max(1.0, probe.images);
    plan.reads.emplace_back(list.source);
    const std::string broken =
        probe.broken > 0 ? fmt::format("; {:g} of the {:g} that were tried are broken", probe.broken, probe.images)
                         : "";
    plan.details.push_back({list.split,
                            fmt::format("{} of {} into {}{}", counted(list.images.size(), "image"), bytes_text(mean),
                                        counted(list.shards, "shard"), broken),
                            {{"images", list.images.size()},
                             {"mean_bytes", mean},
                             {"shards", list.shards},
                             {"tried", probe.images},
                             {"broken", probe.broken}}});
    bytes += count * (mean + kFramingBytes);
    seconds += count * probe.seconds / std::max(1.0, probe.images);
    images += count;
    largest = std::max(largest, mean);
  }
  plan.does = "pack " + counted(static_cast<uint64_t>(images), "image");
  plan.disk_bytes = bytes;
  plan.memory_bytes =
      static_cast<double>(packing_memory(threads, static_cast<uint64_t>(largest), kPixels)) + kListBytes * images;
  plan.seconds = seconds / threads / world.size();
  plan.time_words = "estimated from a sample on one thread";
  plan.ranks = world.size();
  plan.threads = threads;
  return plan;
}

std::string run_pack(World& world, Stage& stage, const PackSettings& settings, const std::vector<PackedList>& lists) {
  const auto done = world.is_root() ? already_packed(stage, lists) : std::nullopt;
  if (!world.broadcast(done ? "done" : "").empty()) {
    if (done) log_info("already packed: " + stage.out().string() + " (no source changed since; --replace packs again)");
    return done ? result_text(*done) : "";
  }
  const std::vector<ProcessId> ranks = world.processes();
  if (world.is_root()) stage.own(ranks);
  const fs::path work = world.broadcast(world.is_root() ? stage.work().string() : "");
  const auto results = pack_own_shards(lists, settings, work, world);
  const auto gathered = world.gather(text_of(results));
  return world.is_root() ? finish(stage, settings, lists, results_from(gathered), world.size()) : "";
}

}  // namespace packhorse

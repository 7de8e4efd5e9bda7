// packhorse-verify: reads every byte that a manifest names again, and says what is damaged.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <sstream>

#include "base/cores.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/options.h"
#include "image/picture.h"
#include "manifest/class_table.h"
#include "manifest/image_list.h"
#include "manifest/stage_manifest.h"
#include "metrics/hdf5_file.h"
#include "metrics/journal.h"
#include "ranks/world.h"
#include "record/shard_reader.h"
#include "source/in_order.h"

#include <fmt/core.h>

namespace packhorse {
namespace {
namespace fs = std::filesystem;

constexpr const char* kAbout =
    "Checks what a stage has made: the size and checksum of every file that its manifest names, every record's own "
    "checksum and framing, lists, class tables, HDF5 files and journals. Writes nothing; ends with code 1 and a line "
    "for each damage where there is any.";
constexpr const char* kExample =
    "  packhorse-verify runs/demo/pack/manifest.json --decode\n"
    "  mpirun -n 4 packhorse-verify runs/imagenet-21k/pack/manifest.json\n"
    "  packhorse-verify made-by-im2rec.rec --show";

/// Damages of one file that are told one by one; a garbled shard would fill the log.
constexpr uint64_t kMostTold = 20;

struct Settings {
  std::string manifest;
  bool decode = false, plan = false, show = false;
  int threads = 0;
};

/// One file to check; a shard together with its index.
struct Task {
  FileEntry file;
  std::optional<FileEntry> index;
  bool bare = false;  ///< given by itself: no manifest says what it must be
  uint64_t bytes() const { return file.bytes + (index ? index->bytes : 0); }
};

struct Findings {
  uint64_t files = 0, bytes = 0, records = 0, unchecked = 0, damages = 0;
  std::string text;  ///< a line each

  void damage(const std::string& what) {
    ++damages;
    text += what + "\n";
  }
};

bool has_suffix(const std::string& role, std::string_view suffix) { return role.ends_with(suffix); }

/// All files a manifest names, but for the description, which a user may have edited for another run.
std::vector<Task> tasks_of(const StageManifest& manifest) {
  std::vector<Task> tasks;
  for (const auto* entries : {&manifest.inputs, &manifest.outputs}) {
    for (const FileEntry& entry : *entries) {
      if (entry.role == "description") continue;
      if (has_suffix(entry.role, "-index") && !tasks.empty() && has_suffix(tasks.back().file.role, "-shard")) {
        tasks.back().index = entry;
      } else {
        tasks.push_back({entry, std::nullopt, false});
      }
    }
  }
  return tasks;
}

/// What is wrong with one record, or nothing.
struct RecordFinding {
  std::string trouble;
  bool read = false, checked = false;
  std::string shown;  ///< `id TAB label TAB bytes TAB crc32c`, where asked for
};

RecordFinding check_record(const ShardReader& reader, uint64_t index, uint64_t classes, const Settings& settings) {
  thread_local std::vector<std::byte> buffer;
  thread_local Image image;
  RecordFinding finding;
  try {
    const Record record = reader.read(index, buffer);
    finding.read = true;
    finding.checked = record.checked;
    if (classes > 0 && record.label >= classes) {
      finding.trouble = fmt::format("{}: label {} of {} classes", reader.name_of(index), record.label, classes);
    }
    if (settings.show) {
      finding.shown = fmt::format("{}\t{}\t{}\t{}\n", record.id, record.label, record.image.size(),
                                  crc32c_text(crc32c(record.image)));
    }
    if (settings.decode) decode_picture(record.image, image);
  } catch (const Error& error) {
    const ErrorText& text = error.text();
    finding.trouble = (text.where.empty() ? reader.name_of(index) : text.where) + ": " + text.what;
  }
  return finding;
}

void check_records(const Task& task, uint64_t classes, const Settings& settings, int threads, Findings& findings) {
  const ShardReader reader({{task.file.path, task.index->path}});
  if (!task.bare && reader.records() != task.file.records) {
    findings.damage(fmt::format("{}: {} records, its manifest says {}", task.file.path.string(), reader.records(),
                                task.file.records));
  }
  uint64_t told = 0;
  for_each_in_order(
      reader.records(), threads, [&](uint64_t i) { return check_record(reader, i, classes, settings); },
      [&](const RecordFinding& finding) {
        fmt::print("{}", finding.shown);
        findings.unchecked += finding.read && !finding.checked ? 1 : 0;
        if (finding.trouble.empty()) return;
        ++findings.damages;
        if (++told <= kMostTold) findings.text += finding.trouble + "\n";
      });
  if (told > kMostTold)
    findings.text += fmt::format("{}: {} more records\n", task.file.path.string(), told - kMostTold);
  findings.records += reader.records();
}

void check_lines(const FileEntry& list, uint64_t classes) {
  const auto entries = read_image_list(list.path);
  if (entries.size() != list.records) {
    throw DamageError(
        {fmt::format("{} images, its manifest says {}", entries.size(), list.records), list.path.string(), ""});
  }
  for (const ImageEntry& entry : entries) {
    if (classes > 0 && entry.label >= classes) {
      throw DamageError(
          {fmt::format("image {} has label {} of {} classes", entry.id, entry.label, classes), list.path.string(), ""});
    }
  }
}

uint64_t counted(const StageManifest& manifest, const std::string& name) {
  return manifest.counts.contains(name) ? manifest.counts[name].get<uint64_t>() : 0;
}

/// Beyond the checksum: whether the file is what its role says.
void check_content(const StageManifest& manifest, const FileEntry& file, uint64_t classes) {
  const std::string extension = file.path.extension().string();
  if (file.role == "class-table") {
    if (ClassTable::load(file.path).crc32c() != manifest.classes_crc32c) {
      throw DamageError({"not the class table that the labels belong to", file.path.string(), ""});
    }
  } else if (has_suffix(file.role, "-list")) {
    check_lines(file, classes);
  } else if (file.role == "quarantine") {
    const std::string text = read_text(file.path);
    const auto lines = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
    if (lines != counted(manifest, "quarantined")) {
      throw DamageError(
          {fmt::format("{} lines, its manifest counts {} images", lines, counted(manifest, "quarantined")),
           file.path.string(), ""});
    }
  } else if (extension == ".h5") {
    const Hdf5Reader whole(file.path);
  } else if (extension == ".jsonl") {
    read_journal(file.path);
  }
}

template <typename Check>
void guarded(Findings& findings, const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    findings.damage(error.text().where + ": " + error.text().what);
  }
}

void check_task(const StageManifest& manifest, const Task& task, uint64_t classes, const Settings& settings,
                int threads, Findings& findings) {
  findings.files += task.index ? 2 : 1;
  findings.bytes += task.bytes();
  if (!task.bare) {
    guarded(findings, [&] { check_file(task.file, manifest.path, true); });
    guarded(findings, [&] { check_content(manifest, task.file, classes); });
    if (task.index) guarded(findings, [&] { check_file(*task.index, manifest.path, true); });
  }
  if (!task.index) return;
  guarded(findings, [&] { check_records(task, classes, settings, threads, findings); });
}

/// A shard by itself, MXNet's perhaps; its index stands beside it.
Task bare_shard(const fs::path& rec) {
  const fs::path idx = fs::path(rec).replace_extension(".idx");
  return {{"shard", rec, InputFile(rec).bytes(), 0, 0}, FileEntry{"index", idx, InputFile(idx).bytes(), 0, 0}, true};
}

uint64_t count_classes(const StageManifest& manifest) {
  for (const FileEntry& table : manifest.outputs_of("class-table")) {
    try {
      return ClassTable::load(table.path).size();
    } catch (const Error&) {
      return 0;  // told when the table's own turn comes
    }
  }
  return 0;
}

void check_counts(const StageManifest& manifest, Findings& findings) {
  if (manifest.stage != "pack") return;
  const uint64_t listed = counted(manifest, "listed"), packed = counted(manifest, "packed");
  const uint64_t quarantined = counted(manifest, "quarantined");
  uint64_t records = 0;
  for (const FileEntry& file : manifest.outputs) records += has_suffix(file.role, "-shard") ? file.records : 0;
  if (listed != packed + quarantined || packed != records) {
    findings.damage(fmt::format("{}: {} listed, {} packed, {} quarantined, {} records in shards do not add up",
                                manifest.path.string(), listed, packed, quarantined, records));
  }
}

/// Rank 0's: all findings together, and the exit code.
int conclude(const std::vector<std::string>& gathered, const Findings& all, double seconds) {
  for (const std::string& text : gathered) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) log_error(line);
  }
  if (all.unchecked > 0) {
    log_warning(grouped(all.unchecked) + " records carry no checksum of their own (MXNet's tools write none)");
  }
  const std::string records = all.records > 0 ? ", " + grouped(all.records) + " records" : "";
  fmt::print("verified {} files, {}{}: {}, {}\n", all.files, bytes_text(static_cast<double>(all.bytes)), records,
             all.damages == 0 ? "all sound" : grouped(all.damages) + " damaged", duration_text(seconds));
  return all.damages == 0 ? kExitOk : kExitFailure;
}

int run(World& world, int argc, char** argv) {
  Settings settings;
  Options options("packhorse-verify", kAbout, kExample);
  options.argument("manifest", settings.manifest,
                   "the manifest.json of any finished stage, or a .rec with its .idx beside it");
  options.run_option("decode", settings.decode, "decode every picture as well");
  options.run_option("show", settings.show, "print each record: id, label, bytes and crc32c of the picture");
  options.run_option("plan", settings.plan, "say what would be read, and do nothing");
  options.run_option("threads", settings.threads, "threads of each rank (0: its share of the cores)");
  options.parse(argc, argv);
  const auto start = std::chrono::steady_clock::now();
  if (settings.show && world.size() > 1) {
    throw UsageError({"--show lists records in order, which takes one rank", "", "run it without mpirun"});
  }
  const bool bare = fs::path(settings.manifest).extension() == ".rec";
  const StageManifest manifest = bare ? StageManifest{} : StageManifest::load(settings.manifest);
  const std::vector<Task> tasks = bare ? std::vector{bare_shard(settings.manifest)} : tasks_of(manifest);
  const auto rank = static_cast<size_t>(world.rank()), ranks = static_cast<size_t>(world.size());
  uint64_t bytes = 0, own_bytes = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    bytes += tasks[i].bytes();
    own_bytes += i % ranks == rank ? tasks[i].bytes() : 0;
  }
  if (settings.plan) {
    if (world.rank() == 0) {
      fmt::print("reads {} of {} files named by {}; writes nothing\n", bytes_text(static_cast<double>(bytes)),
                 tasks.size(), settings.manifest);
    }
    return kExitOk;
  }
  const int threads = settings.threads > 0 ? settings.threads : share_cores(world.local_size()).feed;
  const uint64_t classes = count_classes(manifest);
  Findings findings;
  Progress progress("verify", "bytes", own_bytes, world.rank() != 0);
  if (world.rank() == 0) check_counts(manifest, findings);
  for (size_t i = rank; i < tasks.size(); i += ranks) {
    check_task(manifest, tasks[i], classes, settings, threads, findings);
    progress.add(tasks[i].bytes());
  }
  std::vector<uint64_t> totals = {findings.files, findings.bytes, findings.records, findings.unchecked,
                                  findings.damages};
  world.sum(std::span<uint64_t>(totals));
  const Findings all{totals[0], totals[1], totals[2], totals[3], totals[4], {}};
  const auto gathered = world.gather(findings.text);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return world.rank() == 0 ? conclude(gathered, all, seconds) : kExitOk;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  return packhorse::run_ranked_stage([&](packhorse::World& world) { return packhorse::run(world, argc, argv); });
}

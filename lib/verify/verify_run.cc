#include "verify/verify_run.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "base/in_order.h"
#include "base/log.h"
#include "base/text.h"
#include "classes/class_table.h"
#include "hdf5/hdf5_file.h"
#include "image/decode.h"
#include "manifest/image_list.h"
#include "metrics/journal.h"
#include "record/shard_reader.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// How many damaged records of one file are reported one by one: a badly damaged shard would fill the log.
constexpr uint64_t kMaxReported = 20;

bool is_shard(const FileEntry& entry) { return entry.role.ends_with("-shard"); }

/// Runs `check`; an Error becomes a finding.
template <typename Check>
void guarded(Findings& findings, const Check& check) {
  try {
    check();
  } catch (const OutOfDate& error) {
    findings.out_of_date(error.text().where + ": " + error.text().what + "\n  try: " + error.text().hint);
  } catch (const Error& error) {
    findings.damage(error.text().where + ": " + error.text().what);
  }
}

// ---- Records --------------------------------------------------------------------------------------------------------

/// The result of checking one record; `damage` is empty if nothing is wrong.
struct RecordFinding {
  std::string damage;
  bool read = false, checked = false;
  std::string shown;  ///< `id TAB label TAB bytes TAB crc32c`, if requested
};

RecordFinding check_record(const ShardReader& reader, uint64_t index, const std::vector<uint64_t>& keys,
                           uint64_t classes, const VerifyJob& job) {
  thread_local std::vector<std::byte> buffer;
  thread_local DecodedImage image;
  RecordFinding finding;
  try {
    const Record record = reader.read(index, buffer);
    finding.read = true;
    finding.checked = record.checked;
    if (classes > 0 && record.label >= classes) {
      finding.damage =
          fmt::format("{}: label {}, but there are {} classes", reader.name_of(index), record.label, classes);
    }
    if (!keys.empty() && keys[index] != record.id) {
      finding.damage =
          fmt::format("{}: image {}, but its key in the index is {}", reader.name_of(index), record.id, keys[index]);
    }
    if (job.show) {
      finding.shown = fmt::format("{}\t{}\t{}\t{}\n", record.id, record.label, record.image.size(),
                                  crc32c_text(crc32c(record.image)));
    }
    if (job.decode) decode_image(record.image, image);
  } catch (const Error& error) {
    const ErrorText& text = error.text();
    finding.damage = (text.where.empty() ? reader.name_of(index) : text.where) + ": " + text.what;
  }
  return finding;
}

void check_records(const FileCheck& check, uint64_t classes, const VerifyJob& job, Findings& findings) {
  const std::string path = check.file.path.string();
  const ShardReader reader({{check.file.path, check.index->path}});
  if (!check.bare && reader.records() != check.file.records) {
    findings.damage(
        fmt::format("{}: {} records, but its manifest says {}", path, reader.records(), check.file.records));
  }
  const std::vector<uint64_t> keys = check.bare ? std::vector<uint64_t>() : index_keys(check.index->path);
  uint64_t damaged = 0;
  for_each_in_order(
      reader.records(), job.threads, [&](uint64_t i) { return check_record(reader, i, keys, classes, job); },
      [&](const RecordFinding& finding) {
        fmt::print("{}", finding.shown);
        findings.unchecked += finding.read && !finding.checked ? 1 : 0;
        if (finding.damage.empty()) return;
        ++findings.damages;
        if (++damaged <= kMaxReported) findings.text += finding.damage + "\n";
      });
  if (damaged > kMaxReported)
    findings.text += fmt::format("{}: {} more damaged records\n", path, damaged - kMaxReported);
  findings.records += reader.records();
}

// ---- Other files ----------------------------------------------------------------------------------------------------

void check_list(const FileEntry& list, uint64_t classes) {
  const auto entries = read_image_list(list.path);
  if (entries.size() != list.records) {
    throw DamageError(
        {fmt::format("{} images, but its manifest says {}", entries.size(), list.records), list.path.string(), ""});
  }
  for (const ImageEntry& entry : entries) {
    if (classes > 0 && entry.label >= classes) {
      throw DamageError({fmt::format("image {} has label {}, but there are {} classes", entry.id, entry.label, classes),
                         list.path.string(), ""});
    }
  }
}

uint64_t counted_by(const StageManifest& manifest, const std::string& name) {
  return manifest.counts.contains(name) ? manifest.counts[name].get<uint64_t>() : 0;
}

/// Quarantine and what list skipped: a line for each image or entry that the manifest counts.
void check_lines(const FileEntry& file, uint64_t counted) {
  const std::string text = read_text(file.path);
  const auto lines = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  if (lines != counted) {
    throw DamageError({fmt::format("{} lines, but its manifest counts {}", lines, counted), file.path.string(), ""});
  }
}

/// Checks, in addition to the checksum, that the content is what the role says.
void check_content(const StageManifest& manifest, const FileEntry& file, uint64_t classes) {
  const std::string extension = file.path.extension().string();
  if (file.role == "class-table") {
    load_class_table(manifest);
  } else if (file.role.ends_with("-list")) {
    check_list(file, classes);
  } else if (file.role == "quarantine") {
    check_lines(file, counted_by(manifest, "quarantined"));
  } else if (file.role == "skipped") {
    check_lines(file, counted_by(manifest, "skipped"));
  } else if (extension == ".h5") {
    const Hdf5Reader whole(file.path);
  } else if (extension == ".jsonl") {
    read_journal(file.path);
  }
}

void check_file_of(const VerifyJob& job, const FileCheck& check, uint64_t classes, Findings& findings) {
  findings.files += check.index ? 2 : 1;
  findings.bytes += check.bytes();
  if (!check.bare) {
    guarded(findings, [&] {
      check.input ? check_input(check.file, job.manifest) : check_file(check.file, job.manifest.path, true);
    });
    guarded(findings, [&] { check_content(job.manifest, check.file, classes); });
    if (check.index) guarded(findings, [&] { check_file(*check.index, job.manifest.path, true); });
  }
  if (check.index) guarded(findings, [&] { check_records(check, classes, job, findings); });
}

uint64_t count_classes(const StageManifest& manifest) {
  for (const FileEntry& table : manifest.outputs_of("class-table")) {
    try {
      return ClassTable::load(table.path).size();
    } catch (const Error&) {
      return 0;  // reported when the table itself is checked
    }
  }
  return 0;
}

void check_counts(const StageManifest& manifest, Findings& findings) {
  const uint64_t listed = counted_by(manifest, "listed");
  if (manifest.stage == "list" && manifest.counts.contains("found")) {  // since version 0.3
    const uint64_t found = counted_by(manifest, "found"), skipped = counted_by(manifest, "skipped");
    if (found == listed + skipped) return;
    findings.damage(fmt::format("{}: {} found, {} listed, {} skipped do not add up", manifest.path.string(), found,
                                listed, skipped));
  }
  if (manifest.stage != "pack") return;
  for (size_t i = 0; i < manifest.outputs.size(); ++i) {
    if (!is_shard(manifest.outputs[i])) continue;
    if (i + 1 == manifest.outputs.size() || !manifest.outputs[i + 1].role.ends_with("-index"))
      findings.damage(fmt::format("{}: the manifest names no index of it, so its records cannot be found",
                                  manifest.outputs[i].path.string()));
  }
  const uint64_t packed = counted_by(manifest, "packed");
  const uint64_t quarantined = counted_by(manifest, "quarantined");
  uint64_t records = 0;
  for (const FileEntry& file : manifest.outputs) records += is_shard(file) ? file.records : 0;
  if (listed != packed + quarantined || packed != records) {
    findings.damage(fmt::format("{}: {} listed, {} packed, {} quarantined, {} records in shards do not add up",
                                manifest.path.string(), listed, packed, quarantined, records));
  }
}

}  // namespace

void Findings::damage(const std::string& what) {
  ++damages;
  text += what + "\n";
}

void Findings::out_of_date(const std::string& what) {
  ++outdated;
  text += what + "\n";
}

uint64_t VerifyJob::bytes() const {
  uint64_t sum = 0;
  for (const FileCheck& check : files) sum += check.bytes();
  return sum;
}

VerifyJob make_verify_job(const fs::path& path) {
  VerifyJob job;
  if (path.extension() == ".rec") {
    const fs::path idx = fs::path(path).replace_extension(".idx");
    // Sizes first: GCC 12 destroys parts of a nested aggregate twice if one of its initialisers throws.
    const uint64_t rec_bytes = InputFile(path).bytes(), idx_bytes = InputFile(idx).bytes();
    const FileEntry rec_entry{"shard", path, rec_bytes, 0, 0}, idx_entry{"index", idx, idx_bytes, 0, 0};
    job.files.push_back({rec_entry, idx_entry, true});
    return job;
  }
  job.manifest = StageManifest::load(fs::is_directory(path) ? path / "manifest.json" : path);
  for (const auto* entries : {&job.manifest.inputs, &job.manifest.outputs}) {
    for (const FileEntry& entry : *entries) {
      if (entry.role == "description") continue;
      if (entry.role.ends_with("-index") && !job.files.empty() && is_shard(job.files.back().file)) {
        job.files.back().index = entry;
      } else {
        job.files.push_back({entry, std::nullopt, false, entries == &job.manifest.inputs});
      }
    }
  }
  return job;
}

Findings run_verify(World& world, const VerifyJob& job) {
  const auto rank = static_cast<size_t>(world.rank()), ranks = static_cast<size_t>(world.size());
  uint64_t own_bytes = 0;
  for (size_t i = rank; i < job.files.size(); i += ranks) own_bytes += job.files[i].bytes();
  const uint64_t classes = count_classes(job.manifest);
  Findings own;
  Progress progress("verify", "bytes", own_bytes, !world.is_root());
  if (world.is_root()) check_counts(job.manifest, own);
  for (size_t i = rank; i < job.files.size(); i += ranks) {
    check_file_of(job, job.files[i], classes, own);
    progress.add(job.files[i].bytes());
  }
  std::vector<uint64_t> totals = {own.files, own.bytes, own.records, own.unchecked, own.damages, own.outdated};
  world.sum(std::span<uint64_t>(totals));
  return {totals[0], totals[1], totals[2], totals[3], totals[4], totals[5], joined(world.gather(own.text), "")};
}

std::string result_text(const Findings& findings) {
  const std::string records = findings.records > 0 ? ", " + counted(findings.records, "record") : "";
  std::vector<std::string> found;
  if (findings.damages > 0) found.push_back(grouped(findings.damages) + " damaged");
  if (findings.outdated > 0) found.push_back(grouped(findings.outdated) + " out of date");
  return fmt::format("verified {}, {}{}: {}", counted(findings.files, "file"),
                     bytes_text(static_cast<double>(findings.bytes)), records,
                     found.empty() ? "all sound" : joined(found));
}

}  // namespace packhorse

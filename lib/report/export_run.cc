#include "report/export_run.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "metrics/journal.h"
#include "report/columns.h"
#include "report/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

std::string text_of(const Json& object, const std::string& member) {
  if (!object.contains(member) || object[member].is_null()) return "";
  const Json& value = object[member];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// When, where and by whom a stage was run, and its command.
void add_provenance(const StageManifest& manifest, Facts& facts) {
  std::string when = manifest.started + ", " + duration_text(manifest.seconds) + ", " +
                     counted(static_cast<uint64_t>(manifest.ranks), "rank") + " on " + manifest.host + ", version " +
                     manifest.version;
  if (!manifest.slurm_job.empty()) when += ", SLURM job " + manifest.slurm_job;
  facts.emplace_back(manifest.stage, when);
  if (!manifest.backend.empty()) facts.emplace_back(manifest.stage + "_backend", manifest.backend);
  if (!manifest.resampling.empty()) facts.emplace_back(manifest.stage + "_resampling", manifest.resampling);
  facts.emplace_back(manifest.stage + "_command", joined(manifest.command, " "));
}

}  // namespace

ExportSources find_sources(const StageManifest& input, const std::string& journal) {
  ExportSources sources;
  if (input.stage == "evaluate") sources.evaluation = input.output_of("evaluation").path;
  if (input.stage != "pack") {
    sources.train = earlier_stage(input, "train");
    const FileEntry own = sources.train->output_of("journal");
    if (journal.empty()) check_file(own, sources.train->path, true);
    sources.journal = own.path;
  } else {
    const fs::path train = input.path.parent_path().parent_path() / "train";
    const fs::path unfinished = train / "unfinished/metrics.jsonl";  // while a finished run is still there
    sources.journal = fs::exists(unfinished) ? unfinished : train / "metrics.jsonl";
  }
  if (!journal.empty()) sources.journal = fs::absolute(journal).lexically_normal();
  return sources;
}

Report make_report(const StageManifest& input, const ExportSources& sources) {
  Report report;
  const std::vector<Json> journal = read_journal(sources.journal);
  report.tables = journal_tables(journal);
  report.title = input.dataset.value("name", "training");
  report.about = input.dataset.value("about", "");
  for (const Json& line : journal) {
    if (line["kind"] == "run" && line.contains("settings")) report.settings = line["settings"];
  }
  if (sources.train) report.settings = sources.train->settings;
  if (!sources.evaluation.empty()) report.evaluation = read_evaluation(sources.evaluation);
  report.evaluation_file = sources.evaluation;
  report.facts.emplace_back("network", text_of(report.settings, "network"));
  if (report.evaluation) {
    const Evaluation& evaluation = *report.evaluation;
    report.facts.emplace_back("evaluated",
                              fmt::format("{} after {} steps on the {} images of {}, {}", evaluation.fact("checkpoint"),
                                          grouped(static_cast<uint64_t>(evaluation.step)), evaluation.fact("split"),
                                          evaluation.fact("data"), evaluation.fact("precision")));
  }
  report.facts.emplace_back("class_table_crc32c", input.classes_crc32c);
  StageManifest at = input;
  for (int stages = 0; stages < kMostStages; ++stages) {
    add_provenance(at, report.facts);
    const FileEntry* const before = at.before();
    if (before == nullptr || !fs::exists(before->path)) break;
    at = StageManifest::load(before->path);
  }
  return report;
}

std::string run_export(Stage& stage, const ExportSources& sources) {
  const Report report = make_report(stage.input(), sources);
  stage.own();
  StageManifest& manifest = stage.manifest();
  manifest.outputs = write_formats(stage.work(), report);
  size_t lines = 0;
  Json counts = Json::object();
  for (const Table& table : report.tables) {
    counts[table.name] = table.rows;
    lines += table.rows;
  }
  manifest.inputs.push_back(describe_file("journal", sources.journal, lines));
  manifest.counts = {{"lines", lines}, {"tables", counts}};
  stage.finish(1);
  std::vector<std::string> files;
  files.reserve(manifest.outputs.size());
  for (const FileEntry& file : manifest.outputs) files.push_back(file.path.string());
  return fmt::format(
      "exported {} journal lines{} to {}, {}", grouped(lines),
      report.evaluation ? " and the evaluation of " + grouped(report.evaluation->listed) + " images" : "",
      joined(files), duration_text(stage.seconds()));
}

}  // namespace packhorse

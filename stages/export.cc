// packhorse-export: what training and evaluation found, for other programs (HDF5, CSV) and for people (a page).
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/run.h"
#include "manifest/stage.h"
#include "metrics/journal.h"
#include "report/export_files.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAbout = "Writes metrics.h5, metrics.csv and report.html from a run's journal and evaluation.";
constexpr const char* kExample =
    "  packhorse-export runs/demo/evaluate/manifest.json\n"
    "  packhorse-export runs/demo/train/manifest.json        # without an evaluation\n"
    "  packhorse-export runs/demo/pack/manifest.json         # while training runs: the metrics so far\n"
    "  h5dump -d steps/loss runs/demo/export/metrics.h5";

/// What the export is made from.
struct Sources {
  fs::path journal, evaluation;  // evaluation: empty where there is none
  std::optional<StageManifest> train;
};

Sources find_sources(const StageManifest& input, const std::string& journal) {
  Sources sources;
  if (input.stage == "evaluate") sources.evaluation = input.output_of("evaluation").path;
  if (input.stage != "pack") {
    sources.train = earlier_stage(input, "train");
    sources.journal = sources.train->output_of("journal").path;
  } else {
    sources.journal = input.path.parent_path().parent_path() / "train" / "metrics.jsonl";
  }
  if (!journal.empty()) sources.journal = fs::absolute(journal).lexically_normal();
  return sources;
}

std::string text_of(const Json& object, const std::string& member) {
  if (!object.contains(member) || object[member].is_null()) return "";
  const Json& value = object[member];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string command_text(const StageManifest& manifest) {
  std::string text;
  for (const auto& word : manifest.command) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Host, job, version and times stand in the manifest's file beside what StageManifest keeps of it.
void add_provenance(const StageManifest& manifest, Facts& facts) {
  const Json json = read_json(manifest.path);
  std::string when = text_of(json, "started") + ", " + duration_text(manifest.seconds) + ", " +
                     std::to_string(manifest.ranks) + (manifest.ranks == 1 ? " rank on " : " ranks on ") +
                     text_of(json, "host") + ", version " + text_of(json, "version");
  if (const std::string job = text_of(json, "slurm_job"); !job.empty()) when += ", SLURM job " + job;
  facts.emplace_back(manifest.stage, when);
  facts.emplace_back(manifest.stage + "_command", command_text(manifest));
}

Report make_report(const StageManifest& input, const Sources& sources) {
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
  report.facts.emplace_back("network", text_of(report.settings, "network"));
  if (report.evaluation) {
    const Evaluation& evaluation = *report.evaluation;
    report.facts.emplace_back("evaluated",
                              fmt::format("{} after {} steps on the {} images of {}, {}", evaluation.fact("checkpoint"),
                                          grouped(static_cast<uint64_t>(evaluation.step)), evaluation.fact("split"),
                                          evaluation.fact("data"), evaluation.fact("precision")));
  }
  report.facts.emplace_back("class_table_crc32c", input.classes_crc32c);
  for (StageManifest at = input;;) {
    add_provenance(at, report.facts);
    const auto before = std::find_if(at.inputs.begin(), at.inputs.end(),
                                     [](const FileEntry& entry) { return entry.role == "manifest"; });
    if (before == at.inputs.end() || !fs::exists(before->path)) break;
    at = StageManifest::load(before->path);
  }
  return report;
}

int run(int argc, char** argv) {
  Stage stage("export", kAbout, kExample);
  std::string journal;
  stage.options.run_option("journal", journal, "a metrics.jsonl to take instead of the run's own");
  stage.begin(argc, argv, {"evaluate", "train", "pack"});
  const Sources sources = find_sources(stage.input(), journal);
  if (stage.plan()) {
    std::cout << fmt::format("would write metrics.h5, metrics.csv and report.html to {} from {}{}\n",
                             stage.out().string(), sources.journal.string(),
                             sources.evaluation.empty() ? "" : " and " + sources.evaluation.string());
    return kExitOk;
  }
  const Report report = make_report(stage.input(), sources);
  make_folder(stage.out());
  const fs::path metrics = stage.out() / "metrics.h5", table = stage.out() / "metrics.csv",
                 page = stage.out() / "report.html";
  write_metrics(metrics, report, sources.evaluation);
  write_csv(table, report.tables);
  write_text(page, report_page(report));

  size_t lines = 0;
  Json counts = Json::object();
  for (const Table& each : report.tables) {
    counts[each.name] = each.rows;
    lines += each.rows;
  }
  StageManifest& manifest = stage.manifest();
  manifest.inputs.push_back(describe_file("journal", sources.journal, lines));
  manifest.counts = {{"lines", lines}, {"tables", counts}};
  manifest.outputs = {describe_file("metrics", metrics), describe_file("report", page), describe_file("table", table)};
  stage.finish(1);
  std::cout << fmt::format(
      "exported {} journal lines{} to {}, {}, {}, {}\n", grouped(lines),
      report.evaluation ? " and the evaluation of " + grouped(report.evaluation->listed) + " images" : "",
      metrics.string(), table.string(), page.string(), duration_text(stage.seconds()));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_stage([&] { return run(argc, argv); });
}

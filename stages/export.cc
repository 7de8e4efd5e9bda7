// packhorse-export: the results of training and evaluation, for other programs (HDF5, CSV) and for people (HTML).
#include <fmt/core.h>

#include "base/error.h"
#include "base/run.h"
#include "base/text.h"
#include "report/export_run.h"
#include "report/formats.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout = "Writes metrics.h5, metrics.csv and report.html from a run's journal and evaluation.";
constexpr const char* kExample =
    "  packhorse-export runs/demo/evaluate/manifest.json\n"
    "  packhorse-export runs/demo/train/manifest.json        # without an evaluation\n"
    "  packhorse-export runs/demo/pack/manifest.json         # while training runs: the metrics so far\n"
    "  h5dump -d steps/loss runs/demo/export/metrics.h5";

int run(int argc, char** argv) {
  Stage stage("export", kAbout, kExample);
  std::string journal;
  stage.options.run_option("journal", journal, "Path of a metrics.jsonl to use instead of the run's own.");
  stage.begin(argc, argv, {"evaluate", "train", "pack"});
  const ExportSources sources = find_sources(stage.input(), journal);
  if (stage.plan()) {
    std::vector<std::string> files;
    for (const ExportFormat& format : export_formats()) files.emplace_back(format.name);
    StagePlan plan;
    plan.does = "write " + joined(files);
    plan.reads = {sources.journal};
    if (!sources.evaluation.empty()) plan.reads.push_back(sources.evaluation);
    plan.details = {{"files", joined(files), files}};
    stage.print_plan(plan);
    return kExitOk;
  }
  fmt::print("{}\n", run_export(stage, sources));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_stage([&] { return run(argc, argv); });
}

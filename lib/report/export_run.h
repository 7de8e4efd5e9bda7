// The export stage: finds its inputs, collects them in a Report, and writes it in every format.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "manifest/stage.h"
#include "report/page.h"

namespace packhorse {

/// The files that the report is made from.
struct ExportSources {
  std::filesystem::path journal;
  std::filesystem::path evaluation;  ///< empty if there is none
  std::optional<StageManifest> train;
};

/// Finds the journal and the evaluation from the manifest of evaluate, train, or pack (while training still runs).
/// `journal` is the path of a metrics.jsonl to use instead, or empty.
ExportSources find_sources(const StageManifest& input, const std::string& journal);

/// Reads the sources and the manifests of all earlier stages.
Report make_report(const StageManifest& input, const ExportSources& sources);

/// Writes every format and the manifest. Returns the result line.
std::string run_export(Stage& stage, const ExportSources& sources);

}  // namespace packhorse

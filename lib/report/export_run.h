// The export stage: what it is made from, and the report that its formats write.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "manifest/stage.h"
#include "report/page.h"

namespace packhorse {

/// Where the numbers come from.
struct ExportSources {
  std::filesystem::path journal;
  std::filesystem::path evaluation;  ///< empty without one
  std::optional<StageManifest> train;
};

/// Finds journal and evaluation from the manifest of evaluate, train, or pack (while training still runs). `journal`
/// is a metrics.jsonl to take instead, or empty.
ExportSources find_sources(const StageManifest& input, const std::string& journal);

/// Reads them, and the manifests of all stages before.
Report make_report(const StageManifest& input, const ExportSources& sources);

/// Writes every format and finishes the stage. Returns the last line.
std::string run_export(Stage& stage, const ExportSources& sources);

}  // namespace packhorse

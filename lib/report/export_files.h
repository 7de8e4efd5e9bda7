// The files that `export` makes from a journal and, where there is one, an evaluation: metrics.h5, metrics.csv and
// report.html.
//
// metrics.h5: root attributes schema, title, the facts of the run and its settings (JSON); one group a kind of journal
// line (steps, epochs, validation, runs, stops), each column a dataset with its unit; the evaluation, copied whole, as
// the group `evaluation`. Layout: data_manifests/README.md.
#pragma once

#include <filesystem>

#include "report/page.h"

namespace packhorse {

inline constexpr const char* kMetricsSchema = "packhorse/metrics/1";

/// `evaluation` is the path of an evaluation.h5, or empty.
void write_metrics(const std::filesystem::path& path, const Report& report, const std::filesystem::path& evaluation);

}  // namespace packhorse

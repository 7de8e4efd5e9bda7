// metrics.h5: a run's journal and evaluation for other programs.
//
// Root attributes schema, title, the facts of the run and its settings (JSON); one group for each kind of journal line
// (steps, epochs, validation, runs, stops), with each column as a dataset with its unit; the whole evaluation, copied
// as the group `evaluation`. Layout: data_manifests/README.md.
#pragma once

#include <filesystem>

#include "report/page.h"

namespace packhorse {

inline constexpr const char* kMetricsSchema = "packhorse/metrics/1";

void write_metrics(const std::filesystem::path& path, const Report& report);

}  // namespace packhorse

#include "report/formats.h"

#include <array>

#include "base/files.h"
#include "report/columns.h"
#include "report/metrics_file.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

void write_page(const fs::path& path, const Report& report) { write_text(path, report_page(report)); }
void write_table(const fs::path& path, const Report& report) { write_csv(path, report.tables); }

constexpr std::array kFormats = {
    ExportFormat{"metrics", "metrics.h5", write_metrics},
    ExportFormat{"report", "report.html", write_page},
    ExportFormat{"table", "metrics.csv", write_table},
};

}  // namespace

std::span<const ExportFormat> export_formats() { return kFormats; }

std::vector<FileEntry> write_formats(const fs::path& folder, const Report& report,
                                     std::span<const ExportFormat> formats) {
  std::vector<FileEntry> files;
  for (const ExportFormat& format : formats) {
    format.write(folder / format.name, report);
    files.push_back(describe_file(format.role, folder / format.name));
  }
  return files;
}

}  // namespace packhorse

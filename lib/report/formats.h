// The table of output formats of `export`: one row for each, and one source file (metrics_file.cc, columns.cc,
// page.cc).
//
// To add a format, write a function that writes a Report to a path, and add a row to the table in formats.cc.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "manifest/stage_manifest.h"
#include "report/page.h"

namespace packhorse {

struct ExportFormat {
  const char* role;  ///< role of the file in the manifest
  const char* name;  ///< name of the file in the stage's folder
  void (*write)(const std::filesystem::path& path, const Report& report);
};

/// The built-in formats.
std::span<const ExportFormat> export_formats();

/// Writes every format into `folder`. Returns the files as manifest entries, in the order of the table.
std::vector<FileEntry> write_formats(const std::filesystem::path& folder, const Report& report,
                                     std::span<const ExportFormat> formats = export_formats());

}  // namespace packhorse

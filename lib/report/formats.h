// The table of output formats of `export`: one row and one file each (metrics_file.cc, columns.cc, page.cc).
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
  const char* role;  ///< of the file in the manifest
  const char* name;  ///< of the file in the stage's folder
  void (*write)(const std::filesystem::path& path, const Report& report);
};

/// The built-in formats.
std::span<const ExportFormat> export_formats();

/// Writes every format into `folder`; returns the files as a manifest names them, in the order of the table.
std::vector<FileEntry> write_formats(const std::filesystem::path& folder, const Report& report,
                                     std::span<const ExportFormat> formats = export_formats());

}  // namespace packhorse

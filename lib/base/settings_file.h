// A TOML file with settings, as --config takes it: those of one program, or those of several, each in a table of its
// name ([train]).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

/// One `name = value`. `where` is its place for a message: file and line.
struct FileSetting {
  std::string name;
  Json value;
  std::string where;
};

struct SettingsFile {
  bool has_tables = false;
  std::vector<FileSetting> settings;
};

/// Whether this build can: toml++ was there when it was built.
extern const bool kReadsSettingsFiles;

/// Reads the settings of `own`: those of its table, or all if the file has no tables. `tables` are the names that a
/// table can have. Throws a UsageError that names the line if this build
/// reads no such files, and if the file is not TOML, has another table, or has both
/// tables and settings outside of them.
SettingsFile read_settings_file(const std::string& path, const std::string& own,
                                const std::vector<std::string>& tables);

}  // namespace packhorse

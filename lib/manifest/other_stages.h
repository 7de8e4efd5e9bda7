// What a stage asks the others: whether they understand the settings that a description or a settings file has for
// them. A mistake in what is said about training shows when the first stage starts, and not after hours of packing.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

/// All whose settings a description or a settings file can give, in the order in which they run.
const std::vector<std::string>& stage_names();

/// Only a stage knows its settings: each executable beside this one except that of `own` is started with
/// --check-settings. `settings` are those of the description, by stage; `settings_file` is a file with tables, or
/// empty. Throws a UsageError with what the stage says.
void check_settings_of_others(const std::string& own, const Json& settings, const std::filesystem::path& description,
                              const std::string& settings_file);

}  // namespace packhorse

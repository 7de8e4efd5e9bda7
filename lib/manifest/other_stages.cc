#include "manifest/other_stages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// What a command wrote, if it failed; else nothing.
std::string output_of_failed(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) {
    line += "'";
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += "' ";
  }
  FILE* const pipe = popen((line + "2>&1").c_str(), "r");
  if (pipe == nullptr) throw_errno("cannot start", command.front());
  std::string text;
  for (std::array<char, 1024> part{}; std::fgets(part.data(), part.size(), pipe) != nullptr;) text += part.data();
  while (text.ends_with('\n')) text.pop_back();
  return pclose(pipe) == 0 ? "" : text;
}

}  // namespace

const std::vector<std::string>& stage_names() {
  static const std::vector<std::string> names = {"list", "pack", "train", "evaluate", "export", "predict"};
  return names;
}

void check_settings_of_others(const std::string& own, const Json& settings, const fs::path& description,
                              const std::string& settings_file) {
  const auto& stages = stage_names();
  for (const auto& [stage, said] : settings.items()) {
    if (std::find(stages.begin(), stages.end(), stage) != stages.end()) continue;
    const auto meant = nearest(stage, stages);
    throw UsageError({"there is no stage '" + stage + "'", description.string() + ", stages",
                      (meant ? "did you mean " + *meant + "? " : "") + "The stages are " + joined(stages)});
  }
  std::error_code none;
  const fs::path bin = fs::read_symlink("/proc/self/exe", none).parent_path();
  for (const std::string& stage : stages) {
    const fs::path executable = bin / ("packhorse-" + stage);
    if (stage == own || !fs::exists(executable)) continue;
    if (!settings.contains(stage) && settings_file.empty()) continue;
    std::vector<std::string> command = {executable.string(), description.string(), "--check-settings"};
    if (!settings_file.empty()) command.insert(command.end(), {"--config", settings_file});
    const std::string complaint = output_of_failed(command), error = "error: ";
    if (!complaint.empty())
      throw UsageError({complaint.starts_with(error) ? complaint.substr(error.size()) : complaint, "", ""});
  }
}

}  // namespace packhorse

#include "checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

const std::string kPrefix = "step-", kSuffix = ".h5";

/// The step in a checkpoint's file name, or nothing for other names.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const std::string digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  const bool number = !digits.empty() &&
                      std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  constexpr size_t kMaxDigits = 18;  // they fit into an int64_t
  if (!number || digits.size() > kMaxDigits) return std::nullopt;
  return std::stoll(digits);
}

void remove_file(const fs::path& path) {
  std::error_code code;
  fs::remove(path, code);
  if (code) throw Error({"cannot remove an old checkpoint (" + code.message() + ")", path.string(), ""});
}

}  // namespace

CheckpointFolder::CheckpointFolder(fs::path folder, int keep) : folder_(std::move(folder)), keep_(std::max(1, keep)) {}

fs::path CheckpointFolder::step_path(int64_t step) const {
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "step-%08lld.h5", static_cast<long long>(step));
  return folder_ / name.data();
}

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> found;
  if (!fs::is_directory(folder_)) return found;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_regular_file()) found.push_back(*step);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<fs::path> CheckpointFolder::load_newest(const std::function<void(const fs::path&)>& load) const {
  std::vector<int64_t> all = steps();
  if (all.empty()) return std::nullopt;
  for (; !all.empty(); all.pop_back()) {
    fs::path path = step_path(all.back());
    try {
      load(path);
      return path;
    } catch (const DamageError& error) {
      log_warning(std::string(error.what()) + "\n  skips this checkpoint and tries the one before it");
    }
  }
  throw DamageError({"no checkpoint in the folder is sound", folder_.string(),
                     "copy a sound one back, or train from the beginning with --restart"});
}

void CheckpointFolder::prune() const {
  std::vector<int64_t> all = steps();
  while (all.size() > static_cast<size_t>(keep_)) {
    remove_file(step_path(all.front()));
    all.erase(all.begin());
  }
  if (!fs::is_directory(folder_)) return;
  std::vector<fs::path> halves;
  for (const auto& entry : fs::directory_iterator(folder_))
    if (entry.path().extension() == ".part") halves.push_back(entry.path());
  for (const fs::path& path : halves) remove_file(path);
}

void CheckpointFolder::clear() const {
  for (const int64_t step : steps()) remove_file(step_path(step));
  remove_file(best_path());
}

}  // namespace packhorse

#include "pack/already_packed.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include <tbb/parallel_for.h>

#include "base/json.h"
#include "source/source.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// When the stage began, in seconds since 1970; 0 if its manifest does not say so.
time_t began(const StageManifest& manifest) {
  const std::string text = read_json(manifest.path).value("started", "");
  std::tm parts{};
  return strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr ? 0 : timegm(&parts);
}

/// Whether it is there, and neither its bytes nor its name nor its place changed in that second or later.
bool unchanged(const fs::path& path, time_t since) {
  struct stat facts {};
  return stat(path.c_str(), &facts) == 0 && std::max(facts.st_mtime, facts.st_ctime) < since;
}

}  // namespace

std::optional<StageManifest> already_packed(const Stage& stage, const std::vector<PackedList>& lists) {
  auto made = stage.already_made();
  if (!made) return std::nullopt;
  const time_t since = began(*made);
  std::atomic<bool> same{true};
  for (const PackedList& list : lists) {
    const fs::path root = root_of_source(list.source);
    tbb::parallel_for(size_t{0}, list.images.size(), [&](size_t i) {
      const bool archive_again = i > 0 && list.images[i].path == list.images[i - 1].path;
      if (same && !archive_again && !unchanged(root / list.images[i].path, since)) same = false;
    });
  }
  return same ? made : std::nullopt;
}

}  // namespace packhorse

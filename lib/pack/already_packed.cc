#include "pack/already_packed.h"

#include <algorithm>
#include <ctime>

#include "source/changes.h"

namespace packhorse {
namespace {

/// When the stage began, in seconds since 1970; 0 if its manifest does not say so.
time_t began(const StageManifest& manifest) {
  std::tm parts{};
  return strptime(manifest.started.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr ? 0 : timegm(&parts);
}

}  // namespace

std::optional<StageManifest> already_packed(const Stage& stage, const std::vector<PackedList>& lists) {
  auto made = stage.already_made();
  if (!made) return std::nullopt;
  const time_t since = began(*made);
  const bool same = std::all_of(lists.begin(), lists.end(), [&](const PackedList& list) {
    return unchanged_since(list.source, list.images, since);
  });
  return same ? made : std::nullopt;
}

}  // namespace packhorse

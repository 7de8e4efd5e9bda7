#include "source/source.h"

#include <algorithm>
#include <tuple>

#include <tbb/parallel_sort.h>

#include "base/error.h"
#include "base/text.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

void sort_and_check(const fs::path& source, std::vector<ImageEntry>& images) {
  const auto key = [](const ImageEntry& image) {
    return std::tie(image.label, image.path, image.member, image.offset);
  };
  tbb::parallel_sort(images.begin(), images.end(),
                     [&](const ImageEntry& a, const ImageEntry& b) { return key(a) < key(b); });
  const auto same = std::adjacent_find(images.begin(), images.end(), [](const ImageEntry& a, const ImageEntry& b) {
    return a.path == b.path && a.member == b.member && a.label == b.label;
  });
  if (same != images.end()) {
    throw Error({"'" + same->name() + "' appears twice", source.string(), "remove one of the two"});
  }
}

/// Holds a format to its word: found = images + skipped.
void check_counts(const fs::path& source, const SourceImages& result) {
  if (result.found == result.images.size() + result.skipped.size()) return;
  throw Error({grouped(result.found) + " entries were found, but " + grouped(result.images.size()) + " listed and " +
                   grouped(result.skipped.size()) + " skipped",
               source.string(), "report this defect of Packhorse"});
}

}  // namespace

std::string form_of_source(const fs::path& source, Labels labels, std::span<const SourceFormat* const> formats) {
  return format_of(source, formats).describe(look_at(source), labels);
}

fs::path root_of_source(const fs::path& source) { return fs::is_directory(source) ? source : source.parent_path(); }

SourceImages list_source(const fs::path& source, Labels labels, std::span<const SourceFormat* const> formats) {
  SourceImages result;
  try {
    result = format_of(source, formats).list(source, labels);
  } catch (const fs::filesystem_error& error) {
    throw Error({std::string("cannot read a folder (") + error.code().message() + ")", error.path1().string(),
                 "check the path and its permissions"});
  }
  if (result.images.empty()) {
    if (result.skipped.empty()) {
      throw Error({"no images were found: nothing is there", source.string(),
                   "check that the path is right and that it is mounted"});
    }
    throw Error({"no images were found; skipped: " + skipped_text(result.skipped), source.string(),
                 "check the path; data_manifests/README.md says what counts as an image"});
  }
  check_counts(source, result);
  sort_and_check(source, result.images);
  std::sort(result.skipped.begin(), result.skipped.end(), [](const SkippedEntry& a, const SkippedEntry& b) {
    return std::tie(a.path, a.reason) < std::tie(b.path, b.reason);
  });
  return result;
}

}  // namespace packhorse

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

}  // namespace

std::string skipped_text(const Skipped& skipped) {
  std::vector<std::string> kinds;
  for (const auto& [what, count] : skipped) kinds.push_back(grouped(count) + " " + what);
  return kinds.empty() ? "" : " (skipped: " + joined(kinds) + ")";
}

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
    throw Error({"no images were found" + skipped_text(result.skipped), source.string(),
                 "check that the path is right and that it is mounted"});
  }
  sort_and_check(source, result.images);
  return result;
}

}  // namespace packhorse

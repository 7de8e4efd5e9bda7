// A listing: a text file with `path TAB class` on each line; paths are relative to its folder (see listing_lines.h).
#include <algorithm>
#include <map>
#include <unordered_set>

#include "base/error.h"
#include "source/class_images.h"
#include "source/formats.h"
#include "source/listing_lines.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool recognise(const SourceLook& look) {
  return !look.is_folder && look.compression.empty() && !look.head.empty() &&
         std::find(look.head.begin(), look.head.end(), std::byte{0}) == look.head.end();
}

SourceImages list(const fs::path& source, Labels labels) {
  std::map<std::string, ClassImages> by_class;
  std::unordered_set<std::string> paths;
  ListingLines lines = read_listing_lines(source);
  for (ListingLine& line : lines.lines) {
    if (line.name.empty()) {
      throw DamageError({"line " + std::to_string(line.number) + " is not 'path TAB class'", source.string(),
                         "see data_manifests/README.md for the grammar"});
    }
    ImageEntry image;
    image.path = fs::path(line.name).lexically_normal().generic_string();
    if (!paths.insert(image.path).second) {
      throw Error({"'" + image.path + "' appears twice, again in line " + std::to_string(line.number), source.string(),
                   "remove one of the two lines"});
    }
    ClassImages& each = by_class[labels == Labels::elsewhere ? "" : line.label];
    each.id = line.label;
    ++each.found;
    each.images.push_back(std::move(image));
  }
  ClassImages comments;
  for (const std::string& comment : lines.comments) {
    ++comments.found;
    comments.skip(SkipReason::comment, comment);
  }
  std::vector<ClassImages> classes;
  classes.reserve(by_class.size());
  for (auto& [id, each] : by_class) classes.push_back(std::move(each));
  SourceImages result = join_classes(std::move(classes), std::move(comments), source);
  result.classes_may_be_indexes = true;
  if (labels == Labels::elsewhere) result.classes.clear();
  return result;
}

}  // namespace

const SourceFormat kListingFormat = {.recognise = recognise,
                                     .describe = [](const SourceLook&, Labels) -> std::string { return "a listing"; },
                                     .list = list,
                                     .open = open_stored_images};

}  // namespace packhorse

// Where images come from: what a data set's description calls a source, walked without unpacking or opening a picture.
//
// A source is one of
//   - a folder with a folder a class (pictures anywhere below it), or with a plain tar a class (n01440764.tar);
//   - a tar of such tars (the ImageNet release's own form), or a tar with a folder a class;
//   - a folder or a tar of pictures alone, where the classes come from a ground-truth file;
//   - a listing: a text file, `path TAB class` a line, paths relative to its folder (see ground_truth.h).
// A file counts as a picture by its extension (jpg, jpeg, jpe, jfif, png, and those that packing then refuses by name:
// gif, webp, bmp, tif, tiff), or where it has none. Hidden files and all other extensions are skipped and counted.
// Rule: what is found is sorted by class (whole numbers by value), then name: it does not depend on the order of a disk
// or of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "manifest/image_list.h"

namespace packhorse {

enum class Labels {
  by_source,  ///< folders, tars or the listing say which class a picture is of
  elsewhere   ///< the source holds pictures alone: all get label 0 and there are no classes
};

struct Found {
  std::filesystem::path root;               ///< what the paths of `images` are relative to
  std::string kind;                         ///< "a tar of class tars", for people
  std::vector<std::string> classes;         ///< sorted; a label is an index into it
  std::vector<ImageEntry> images;           ///< sorted by class, then name; ids not set
  std::map<std::string, uint64_t> skipped;  ///< what was passed over (".txt files", "hidden files") and how many
};

/// What kind of source stands at a path, for people, at the price of a look. Throws where there is none.
std::string kind_of_source(const std::filesystem::path& source, Labels labels);

/// Walks a source; folders and class tars on all cores. Errors: nothing there, a class without a picture, a picture
/// that stands twice, a tar cut short, a compressed archive.
Found enumerate_source(const std::filesystem::path& source, Labels labels);

/// " (passed over: 3 .txt files)", or nothing.
std::string passed_over(const std::map<std::string, uint64_t>& skipped);

/// What the paths in lists of this source are relative to: the folder itself, or that of the tar or listing.
std::filesystem::path root_of_source(const std::filesystem::path& source);

}  // namespace packhorse

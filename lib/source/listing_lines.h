// Text files that give the class of images: listings and ground truth.
//
// A listing has one line per image: `path TAB class`, or MXNet's `id TAB class TAB path`. Ground truth has one line per
// image: `member class`, or only the class, in the sorted order of the images' names. Fields are separated by tabs, or,
// in lines without a tab, by the last space. A line that begins with '#' is a comment, unless it has a tab and no space
// after the '#': then it is of an image whose name begins so. Empty lines do not count, nor does a byte-order mark.
// A header line, commas between fields, and several classes for an image are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace packhorse {

/// A line of either file; `name` is empty if the line has only a class.
struct ListingLine {
  std::string name, label;
  uint64_t number = 0;  ///< from 1
};

struct ListingLines {
  std::vector<ListingLine> lines;
  std::vector<std::string> comments;  ///< "line 3: # the text"
};

/// Reads a listing or a ground-truth file; throws a DamageError for a line that is not as above, and for a file without
/// lines.
ListingLines read_listing_lines(const std::filesystem::path& path);

}  // namespace packhorse

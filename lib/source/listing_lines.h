// Text files that give the class of images: listings and ground truth.
//
// A listing has one line per image: `path TAB class`, or MXNet's `id TAB class TAB path`. Ground truth has one line per
// image: `member class`, or only the class, in the sorted order of the images' names. Fields are separated by tabs, or,
// in lines without a tab, by the last space. Empty lines and lines that begin with '#' are skipped.
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

/// Reads a listing or a ground-truth file; throws a DamageError for a line without a class and for an empty file.
std::vector<ListingLine> read_listing_lines(const std::filesystem::path& path);

}  // namespace packhorse

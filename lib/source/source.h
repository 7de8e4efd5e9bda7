// Sources of images, as a data set's description names them: listed without unpacking them and without opening an
// image.
//
// The forms that a source can have are the rows of a table: see formats.h. What counts as an image: image_rule.h.
// Rule: images are sorted by class (whole numbers by value), then by name, whatever the order of files on disk or of
// threads. Every entry of a source is listed or skipped with a reason (skipped.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "manifest/image_list.h"
#include "source/skipped.h"

namespace packhorse {

struct SourceFormat;

enum class Labels {
  by_source,  ///< folders, tars or the listing give the class of each image
  elsewhere   ///< the source has only images: each gets label 0 and there are no classes
};

/// All images of a source.
struct SourceImages {
  std::vector<std::string> classes;  ///< sorted; a label is an index into it
  std::vector<ImageEntry> images;    ///< sorted by class, then name; ids are not set
  Skipped skipped;                   ///< sorted by path
  uint64_t found = 0;                ///< entries come across: images + skipped
  /// A class may also be named by its index in a class table (listings only).
  bool classes_may_be_indexes = false;
};

/// The built-in forms, in the order in which they are tried.
std::span<const SourceFormat* const> source_formats();

/// The form of the source at a path, as users read it; reads at most names. Throws an Error if there is none.
std::string form_of_source(const std::filesystem::path& source, Labels labels,
                           std::span<const SourceFormat* const> formats = source_formats());

/// Lists a source; folders and class tars on all cores. Throws an Error for a missing source, a class without images,
/// an image that appears twice, a truncated tar, a compressed archive, or a source without any image.
SourceImages list_source(const std::filesystem::path& source, Labels labels,
                         std::span<const SourceFormat* const> formats = source_formats());

/// The folder that the paths in lists of this source are relative to: the source itself if it is a folder, else the
/// folder of the tar or listing.
std::filesystem::path root_of_source(const std::filesystem::path& source);

}  // namespace packhorse

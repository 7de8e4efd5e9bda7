// Sources of images, as a data set's description names them: listed without unpacking them and without opening an
// image.
//
// The forms that a source can have are the rows of a table: see formats.h. A file counts as an image by its extension
// (jpg, jpeg, jpe, jfif, png, and those that packing then refuses by name: gif, webp, bmp, tif, tiff), or if it has no
// extension. Hidden files and all other extensions are skipped and counted.
// Rule: images are sorted by class (whole numbers by value), then by name, whatever the order of files on disk or of
// threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "manifest/image_list.h"

namespace packhorse {

struct SourceFormat;

/// How many files were skipped, by kind (".txt files", "hidden files").
using Skipped = std::map<std::string, uint64_t>;

enum class Labels {
  by_source,  ///< folders, tars or the listing give the class of each image
  elsewhere   ///< the source has only images: each gets label 0 and there are no classes
};

/// All images of a source.
struct SourceImages {
  std::vector<std::string> classes;  ///< sorted; a label is an index into it
  std::vector<ImageEntry> images;    ///< sorted by class, then name; ids are not set
  Skipped skipped;
  /// A class may also be named by its index in a class table (listings only).
  bool classes_may_be_indexes = false;
};

/// The built-in forms, in the order in which they are tried.
std::span<const SourceFormat* const> source_formats();

/// The form of the source at a path, as users read it; reads at most names. Throws an Error if there is none.
std::string form_of_source(const std::filesystem::path& source, Labels labels,
                           std::span<const SourceFormat* const> formats = source_formats());

/// Lists a source; folders and class tars on all cores. Throws an Error for a missing source, a class without images,
/// an image that appears twice, a truncated tar, or a compressed archive.
SourceImages list_source(const std::filesystem::path& source, Labels labels,
                         std::span<const SourceFormat* const> formats = source_formats());

/// The folder that the paths in lists of this source are relative to: the source itself if it is a folder, else the
/// folder of the tar or listing.
std::filesystem::path root_of_source(const std::filesystem::path& source);

/// " (skipped: 3 .txt files)", or nothing.
std::string skipped_text(const Skipped& skipped);

}  // namespace packhorse

// The table of source formats: one row and one file each (folder.cc, class_tars.cc, tar.cc, record_files.cc,
// listing.cc).
//
// To add a format, write its file, which defines a SourceFormat, and add a row to the table in formats.cc. Formats are
// tried in the order of the table; the first that recognises a source is used, for listing and for packing.
// Rule: an entry of the list has everything that its format needs to find the image (path, member, offset, bytes).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "source/source.h"

namespace packhorse {

/// What is known about a source before a format is chosen.
struct SourceLook {
  std::filesystem::path path;
  bool is_folder = false;
  std::vector<std::byte> head;  ///< the first bytes of a file, at most 512
  std::string compression;      ///< "gzip", "zip", ...; empty if the file is not compressed
};

/// Reads the bytes of listed images. Any number of threads may call it at the same time.
class ImageBytes {
 public:
  virtual ~ImageBytes() = default;
  /// Reads an image into `dst`, and resizes `dst` to it. Throws an Error if this image cannot be read, and an
  /// ArchiveError if the file that holds many images is missing or too short.
  virtual void read(const ImageEntry& entry, std::vector<std::byte>& dst) const = 0;
};

struct SourceFormat {
  bool (*recognise)(const SourceLook& look) = nullptr;
  /// The form, as users read it: "a folder a class".
  std::string (*describe)(const SourceLook& look, Labels labels) = nullptr;
  /// All images of the source, in any order, with paths relative to root_of_source().
  SourceImages (*list)(const std::filesystem::path& source, Labels labels) = nullptr;
  /// `root` is the folder that the entries' paths are relative to.
  std::unique_ptr<ImageBytes> (*open)(const std::filesystem::path& root) = nullptr;
};

extern const SourceFormat kFolderFormat, kClassTarsFormat, kTarFormat, kRecordFormat, kListingFormat;

/// The format of a source; throws an Error that says what the source is if no format recognises it.
const SourceFormat& format_of(const std::filesystem::path& source, std::span<const SourceFormat* const> formats);

SourceLook look_at(const std::filesystem::path& source);

/// The reader of the built-in formats: each image is a file, or a member of a tar; a member that is another one now
/// than when it was listed is an ArchiveError.
std::unique_ptr<ImageBytes> open_stored_images(const std::filesystem::path& root);
/// A reader of ranges of bytes, whatever is before them.
std::unique_ptr<ImageBytes> open_byte_ranges(const std::filesystem::path& root);

}  // namespace packhorse

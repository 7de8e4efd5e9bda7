// Reads the bytes of listed images, from any form of source, on any number of threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "manifest/image_list.h"
#include "source/source.h"

namespace packhorse {

class ImageBytes;

/// An archive is missing, cannot be opened or is shorter than its list says: the fault of no single image.
class ArchiveError : public Error {
 public:
  explicit ArchiveError(ErrorText text) : Error(std::move(text)) {}
};

class ImageReader {
 public:
  /// `source` is the folder, tar or listing that was listed; throws an Error if it is missing.
  explicit ImageReader(const std::filesystem::path& source,
                       std::span<const SourceFormat* const> formats = source_formats());
  ~ImageReader();
  ImageReader(ImageReader&&) noexcept;
  ImageReader& operator=(ImageReader&&) noexcept;

  /// Reads the bytes of an image into `dst`, and resizes `dst` to them. Throws an Error if this image cannot be read;
  /// an ArchiveError if its archive cannot, because then thousands of images would be lost.
  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const;

 private:
  std::unique_ptr<ImageBytes> bytes_;
};

}  // namespace packhorse

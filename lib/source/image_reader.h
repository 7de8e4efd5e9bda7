// The bytes of a listed image, in whatever form its source is. Any number of threads.
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

/// An archive that is missing, cannot be opened or is shorter than its list says: the fault of no single image.
class ArchiveError : public Error {
 public:
  explicit ArchiveError(ErrorText text) : Error(std::move(text)) {}
};

class ImageReader {
 public:
  /// `source` is the folder, tar or listing that was listed; throws if it is not there.
  explicit ImageReader(const std::filesystem::path& source,
                       std::span<const SourceFormat* const> formats = source_formats());
  ~ImageReader();
  ImageReader(ImageReader&&) noexcept;
  ImageReader& operator=(ImageReader&&) noexcept;

  /// Reads the bytes of an image into `dst`, which becomes exactly as long. An image that cannot be read is an Error; a
  /// missing archive would lose thousands of images, and is an ArchiveError.
  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const;

 private:
  std::unique_ptr<ImageBytes> bytes_;
};

}  // namespace packhorse

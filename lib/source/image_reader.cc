#include "source/image_reader.h"

#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;

ImageReader::ImageReader(const fs::path& source, std::span<const SourceFormat* const> formats) {
  if (!fs::exists(source)) {
    throw Error({"the source of the images is missing", source.string(),
                 "mount or restore the images, or list them again at their new path"});
  }
  bytes_ = format_of(source, formats).open(root_of_source(source));
}
ImageReader::~ImageReader() = default;
ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader& ImageReader::operator=(ImageReader&&) noexcept = default;

void ImageReader::read(const ImageEntry& entry, std::vector<std::byte>& dst) const { bytes_->read(entry, dst); }

}  // namespace packhorse

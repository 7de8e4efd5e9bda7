#include "source/image_reader.h"

namespace packhorse {
namespace {
constexpr size_t kMostOpen = 256;  // archives; a folder of class tars has tens of thousands
}

ImageReader::ImageReader(std::filesystem::path root) : root_(std::move(root)) {
  if (!std::filesystem::is_directory(root_)) {
    throw Error({"the folder that the list's paths are relative to is not there", root_.string(),
                 "mount or restore the images, or list them again where they are now"});
  }
}

std::shared_ptr<const InputFile> ImageReader::archive(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const InputFile>& file = archives_[path];
  if (file != nullptr) return file;
  try {
    file = std::make_shared<const InputFile>(root_ / path);
  } catch (const Error& error) {
    throw ArchiveError(error.text());
  }
  auto opened = file;
  if (archives_.size() > kMostOpen) archives_.clear();  // those in use stay open until their readers are done
  return opened;
}

void ImageReader::read(const ImageEntry& entry, std::vector<std::byte>& dst) const {
  if (entry.member.empty()) {
    const InputFile file(root_ / entry.path);
    dst.resize(file.bytes());
    file.read_at(0, dst);
    return;
  }
  const auto file = archive(entry.path);
  if (entry.offset > file->bytes() || entry.bytes > file->bytes() - entry.offset) {
    throw ArchiveError({"the archive ends before '" + entry.member + "'", file->path().string(),
                        "it changed since it was listed: copy it again, or list it again"});
  }
  dst.resize(entry.bytes);
  file->read_at(entry.offset, dst);
}

}  // namespace packhorse

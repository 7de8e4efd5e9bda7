// Images that are separate files, or ranges of bytes in plain archives.
#include <map>
#include <mutex>

#include "base/files.h"
#include "source/formats.h"
#include "source/image_reader.h"

namespace packhorse {
namespace {

constexpr size_t kMaxOpen = 256;  // archives; a folder of class tars has tens of thousands

class StoredImages : public ImageBytes {
 public:
  explicit StoredImages(std::filesystem::path root) : root_(std::move(root)) {}

  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const override {
    if (entry.member.empty()) {
      const InputFile file(root_ / entry.path);
      dst.resize(file.bytes());
      file.read_at(0, dst);
      return;
    }
    const auto file = archive(entry.path);
    if (entry.offset > file->bytes() || entry.bytes > file->bytes() - entry.offset) {
      throw ArchiveError({"the archive ends before '" + entry.member + "'", file->path().string(),
                          "copy it again, or list it again: it changed after it was listed"});
    }
    dst.resize(entry.bytes);
    file->read_at(entry.offset, dst);
  }

 private:
  std::shared_ptr<const InputFile> archive(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const InputFile>& file = archives_[path];
    if (file != nullptr) return file;
    try {
      file = std::make_shared<const InputFile>(root_ / path);
    } catch (const Error& error) {
      throw ArchiveError(error.text());
    }
    auto opened = file;
    if (archives_.size() > kMaxOpen) archives_.clear();  // those in use stay open until their readers are done
    return opened;
  }

  std::filesystem::path root_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const InputFile>> archives_;  // kept open
};

}  // namespace

std::unique_ptr<ImageBytes> open_stored_images(const std::filesystem::path& root) {
  return std::make_unique<StoredImages>(root);
}

}  // namespace packhorse

// Images that are separate files, or ranges of bytes in plain archives.
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <string_view>

#include "base/files.h"
#include "source/formats.h"
#include "source/image_reader.h"

namespace packhorse {
namespace {

constexpr size_t kMaxOpen = 256;  // archives; a folder of class tars has tens of thousands

constexpr size_t kBlock = 512;  // the header of a member, right before its bytes

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('/') + 1); }

/// Whether a member's header is of this entry: its size, and the last part of its name, unless that is too long for the
/// header itself. (Source: POSIX.1-2001, pax, ustar interchange format.)
bool is_header_of(std::span<const std::byte> header, const ImageEntry& entry) {
  constexpr size_t kName = 100, kSure = 90, kSizeAt = 124, kSize = 12;
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  const std::string_view field = text.substr(0, kName), name = field.substr(0, field.find('\0'));
  const std::string_view wanted = last_part(entry.member);
  if (name.size() < kName - 1 && wanted.size() < kSure && last_part(name) != wanted) return false;
  uint64_t bytes = 0;
  for (const char digit : text.substr(kSizeAt, kSize))
    if (digit >= '0' && digit <= '7') bytes = 8 * bytes + static_cast<uint64_t>(digit - '0');
  const bool binary = (static_cast<uint8_t>(text[kSizeAt]) & 0x80) != 0;  // GNU's form of large sizes
  return binary || bytes == entry.bytes;
}

class StoredImages : public ImageBytes {
 public:
  StoredImages(std::filesystem::path root, bool tars) : root_(std::move(root)), before_(tars ? kBlock : 0) {}

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
    if (entry.offset < before_) throw changed(entry, *file);
    dst.resize(before_ + entry.bytes);
    file->read_at(entry.offset - before_, dst);
    if (before_ == 0) return;
    if (!is_header_of(std::span(dst).first(before_), entry)) throw changed(entry, *file);
    std::memmove(dst.data(), dst.data() + before_, entry.bytes);
    dst.resize(entry.bytes);
  }

 private:
  static ArchiveError changed(const ImageEntry& entry, const InputFile& file) {
    return ArchiveError({"the archive does not have '" + entry.member + "' where it was listed", file.path().string(),
                         "list it again: it changed since"});
  }
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
  size_t before_;  // bytes before an image that are looked at
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const InputFile>> archives_;  // kept open
};

}  // namespace

std::unique_ptr<ImageBytes> open_stored_images(const std::filesystem::path& root) {
  return std::make_unique<StoredImages>(root, true);
}
std::unique_ptr<ImageBytes> open_byte_ranges(const std::filesystem::path& root) {
  return std::make_unique<StoredImages>(root, false);
}

}  // namespace packhorse

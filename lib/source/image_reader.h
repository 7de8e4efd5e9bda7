// The bytes of a listed picture, wherever it lies. Any number of threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "manifest/image_list.h"

namespace packhorse {

class ImageReader {
 public:
  /// Paths of entries are relative to `root`, which must be there.
  explicit ImageReader(std::filesystem::path root);
  /// Reads a picture's bytes into `dst`, which becomes exactly as long. A picture that cannot be read is an Error; a
  /// missing archive is one of thousands of pictures, and ArchiveError.
  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const;

 private:
  std::shared_ptr<const InputFile> archive(const std::string& path) const;

  std::filesystem::path root_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const InputFile>> archives_;  ///< kept open
};

/// An archive that is not there, cannot be opened or is shorter than its list says: no single picture's fault.
class ArchiveError : public Error {
 public:
  explicit ArchiveError(ErrorText text) : Error(std::move(text)) {}
};

}  // namespace packhorse

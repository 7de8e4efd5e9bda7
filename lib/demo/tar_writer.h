// Writes tar archives whose bytes depend only on names and contents: no timestamps, no owners.
//
// POSIX ustar, with pax headers only if a name or a size needs them. Writes to a file (under a temporary name, then
// renamed) or to memory, for a tar inside a tar.
#pragma once

#include <cstddef>
#include <exception>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"

struct archive;

namespace packhorse {

class TarWriter {
 public:
  /// Without finish() no file remains at `path`.
  explicit TarWriter(const std::filesystem::path& path);
  /// Appends to `dst`, which must outlive the writer.
  explicit TarWriter(std::vector<std::byte>& dst);
  ~TarWriter();
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;

  /// Adds a regular file.
  void add(const std::string& name, std::span<const std::byte> bytes);
  /// Writes the end of the archive and, for a file, renames it to its final name.
  void finish();

 private:
  void open(const std::string& where);
  void check(int code, const char* what);
  static ptrdiff_t write_out(struct archive* tar, void* self, const void* src, size_t bytes);

  std::string where_;
  std::unique_ptr<OutputFile> file_;
  std::vector<std::byte>* memory_ = nullptr;
  struct archive* tar_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace packhorse

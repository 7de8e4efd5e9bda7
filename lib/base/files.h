// Files that are read whole and written whole.
//
// Rule: a reader never sees a half-written file. Outputs are written beside their place (`NAME.part`), flushed to the
// disk, then renamed; every write, fsync and close is checked. All offsets and sizes are 64-bit bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse {

/// A file descriptor with one owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int get() const { return fd_; }
  int release();

 private:
  int fd_ = -1;
};

/// A file opened for reading; `read_at` may be called from any number of threads.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  uint64_t bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  /// Fills `dst` from `offset` on; throws DamageError where the file ends before.
  void read_at(uint64_t offset, std::span<std::byte> dst) const;
  /// Tells the kernel that [offset, offset + bytes) will be read soon.
  void will_need(uint64_t offset, uint64_t bytes) const;

 private:
  std::filesystem::path path_;
  Descriptor fd_;
  uint64_t bytes_ = 0;
};

/// A file being written beside its final place; without commit() nothing remains of it.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(std::span<const std::byte> src);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Bytes and checksum of what was written so far.
  uint64_t bytes() const { return bytes_; }
  uint32_t crc32c() const { return crc_; }
  /// Flush, fsync, close, rename into place, fsync the folder. Throws where any of them fails.
  void commit();

 private:
  void flush();

  std::filesystem::path path_, part_;
  Descriptor fd_;
  std::vector<std::byte> buffer_;
  uint64_t bytes_ = 0;
  uint32_t crc_ = 0;
  bool committed_ = false;
};

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, std::string_view text);

/// Size and checksum of a whole file.
struct FileFacts {
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
};
FileFacts file_facts(const std::filesystem::path& path);

/// Makes the folder and its parents; throws where that fails or it cannot be written in.
void make_folder(const std::filesystem::path& path);

/// Flushes a file or folder to the disk by its path.
void sync_path(const std::filesystem::path& path);

/// Moves a finished file to its place and flushes the folder's entry.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace packhorse

// Reading files, and writing them atomically.
//
// Rule: a reader never sees a half-written file. An output is written next to its final path (`NAME.part`), flushed to
// disk, then renamed; every write, fsync and close is checked. All offsets and sizes are 64-bit, in bytes.
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
  /// Fills `dst` from `offset` on; throws DamageError if the file ends too early.
  void read_at(uint64_t offset, std::span<std::byte> dst) const;
  /// Tells the kernel that [offset, offset + bytes) will be read soon.
  void will_need(uint64_t offset, uint64_t bytes) const;

 private:
  std::filesystem::path path_;
  Descriptor fd_;
  uint64_t bytes_ = 0;
};

/// A file that is written next to its final path; without commit() it is removed.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(std::span<const std::byte> src);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Size and checksum of what was written so far.
  uint64_t bytes() const { return bytes_; }
  uint32_t crc32c() const { return crc_; }
  /// Flush, fsync, close, rename to the final path, fsync the folder. Throws if any of these fails.
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

/// Creates the folder and its parents; throws if that fails or the folder is not writable.
void make_folder(const std::filesystem::path& path);

/// Flushes a file or folder to disk, by its path.
void sync_path(const std::filesystem::path& path);

/// Moves a finished file to its final path and flushes the folder's entry.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace packhorse

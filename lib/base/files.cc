#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/crc32c.h"
#include "base/error.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

/// Finds a write error that only fsync or close reports (for example a full network disk).
void sync_or_throw(int fd, const fs::path& path) {
  if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) throw_errno("cannot flush to disk", path.string());
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.release();
  }
  return *this;
}
Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}
int Descriptor::release() { return std::exchange(fd_, -1); }

// Without waiting: opening a pipe for reading would wait for someone who writes.
InputFile::InputFile(const fs::path& path) : path_(path), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (fd_.get() < 0) throw_errno("cannot open", path.string());
  struct stat status = {};
  if (fstat(fd_.get(), &status) != 0) throw_errno("cannot get the size of", path.string());
  if (S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    throw_errno("cannot read", path.string());
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error({"a pipe, a socket or a device, not a file", path.string(), "write it to a file first"});
  }
  bytes_ = static_cast<uint64_t>(status.st_size);
}

void InputFile::read_at(uint64_t offset, std::span<std::byte> dst) const {
  size_t done = 0;
  while (done < dst.size()) {
    const ssize_t got = pread(fd_.get(), dst.data() + done, dst.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("cannot read", path_.string());
    if (got == 0) {
      throw DamageError({"the file ends at byte " + std::to_string(offset + done) + ", " +
                             std::to_string(dst.size() - done) + " bytes too early",
                         path_.string(), "make it again: it was cut short, or is still being written"});
    }
    done += static_cast<size_t>(got);
  }
}

void InputFile::will_need(uint64_t offset, uint64_t bytes) const {
  // Only a hint: if the kernel ignores it, reading is still correct.
  posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

OutputFile::OutputFile(const fs::path& path) : path_(path), part_(path.string() + ".part") {
  fd_ = Descriptor(open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (fd_.get() < 0) throw_errno("cannot create", part_.string());
  buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
  if (committed_) return;
  std::error_code ignored;  // the file is abandoned; the next run overwrites what is left
  fs::remove(part_, ignored);
}

void OutputFile::write(std::span<const std::byte> src) {
  crc_ = packhorse::crc32c(src, crc_);
  bytes_ += src.size();
  while (!src.empty()) {
    const size_t take = std::min(src.size(), kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), src.begin(), src.begin() + static_cast<ptrdiff_t>(take));
    src = src.subspan(take);
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void OutputFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t put = ::write(fd_.get(), buffer_.data() + done, buffer_.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno("cannot write", part_.string());
    done += static_cast<size_t>(put);
  }
  // Start to write to disk now, so that the fsync at the end has little left to do. Only a hint: commit() checks.
  if (buffer_.size() == kBufferBytes) sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  buffer_.clear();
}

void OutputFile::commit() {
  flush();
  sync_or_throw(fd_.get(), part_);
  if (close(fd_.release()) != 0) throw_errno("cannot close", part_.string());
  rename_durably(part_, path_);
  committed_ = true;
}

std::string read_text(const fs::path& path) {
  const InputFile file(path);
  std::string text(file.bytes(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void write_text(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

FileFacts file_facts(const fs::path& path) {
  const InputFile file(path);
  FileFacts facts{file.bytes(), 0};
  std::vector<std::byte> buffer(kBufferBytes);
  for (uint64_t at = 0; at < facts.bytes; at += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), facts.bytes - at));
    file.read_at(at, part);
    facts.crc32c = crc32c(part, facts.crc32c);
  }
  return facts;
}

void make_folder(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code && !fs::is_directory(path)) {
    errno = code.value();
    throw_errno("cannot create the folder", path.string());
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) throw_errno("cannot write to the folder", path.string());
}

void sync_path(const fs::path& path) {
  const Descriptor fd(open(path.empty() ? "." : path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) throw_errno("cannot open", path.string());
  sync_or_throw(fd.get(), path);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) != 0) throw_errno("cannot rename into place", to.string());
  sync_path(to.parent_path());
}

}  // namespace packhorse

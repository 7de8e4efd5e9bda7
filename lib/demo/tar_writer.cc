#include "demo/tar_writer.h"

#include <cerrno>

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"

namespace packhorse {

TarWriter::TarWriter(const std::filesystem::path& path) : file_(std::make_unique<OutputFile>(path)) {
  open(path.string());
}

TarWriter::TarWriter(std::vector<std::byte>& dst) : memory_(&dst) { open("a tar in memory"); }

TarWriter::~TarWriter() {
  if (tar_ != nullptr) archive_write_free(tar_);
}

void TarWriter::open(const std::string& where) {
  where_ = where;
  tar_ = archive_write_new();
  if (tar_ == nullptr) throw Error({"out of memory: libarchive cannot create a writer", where, ""});
  check(archive_write_set_format_pax_restricted(tar_), "choosing the format");
  check(archive_write_open(tar_, this, nullptr, &TarWriter::write_out, nullptr), "opening");
}

void TarWriter::check(int code, const char* what) {
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  if (code == ARCHIVE_OK) return;
  const char* said = archive_error_string(tar_);
  throw Error({std::string(what) + " failed (" + (said != nullptr ? said : "no reason given") + ")", where_, ""});
}

ptrdiff_t TarWriter::write_out(struct archive* tar, void* self, const void* src, size_t bytes) {
  auto& writer = *static_cast<TarWriter*>(self);
  const std::span part(static_cast<const std::byte*>(src), bytes);
  try {
    if (writer.file_ != nullptr) {
      writer.file_->write(part);
    } else {
      writer.memory_->insert(writer.memory_->end(), part.begin(), part.end());
    }
    return static_cast<ptrdiff_t>(bytes);
  } catch (...) {  // must not cross libarchive's C frames: check() throws it again after they have returned
    writer.failure_ = std::current_exception();
    archive_set_error(tar, EIO, "the output could not be written");
    return -1;
  }
}

void TarWriter::add(const std::string& name, std::span<const std::byte> bytes) {
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), &archive_entry_free);
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_size(entry.get(), static_cast<int64_t>(bytes.size()));
  archive_entry_set_mtime(entry.get(), 0, 0);
  check(archive_write_header(tar_, entry.get()), "writing a header");
  for (size_t done = 0; done < bytes.size();) {
    const la_ssize_t put = archive_write_data(tar_, bytes.data() + done, bytes.size() - done);
    check(put > 0 ? ARCHIVE_OK : ARCHIVE_FATAL, "writing a member");
    done += static_cast<size_t>(put);
  }
}

void TarWriter::finish() {
  check(archive_write_close(tar_), "writing the end");
  if (file_ != nullptr) file_->commit();
}

}  // namespace packhorse

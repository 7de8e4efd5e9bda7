#include "source/tar_reader.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string_view>

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr uint64_t kBlock = 512;

/// The range of a file that libarchive reads through callbacks: headers are read, contents skipped.
struct Window {
  const InputFile& file;
  uint64_t at, end;
  std::array<std::byte, 4096> buffer{};
  std::string failure;  ///< a read error; an exception must not cross libarchive
};

la_ssize_t on_read(archive* /*reader*/, void* client, const void** data) {
  Window& window = *static_cast<Window*>(client);
  const auto part = std::span(window.buffer).first(std::min<uint64_t>(window.buffer.size(), window.end - window.at));
  try {
    window.file.read_at(window.at, part);
  } catch (const std::exception& error) {
    window.failure = error.what();
    return -1;
  }
  window.at += part.size();
  *data = part.data();
  return static_cast<la_ssize_t>(part.size());
}

la_int64_t on_skip(archive* /*reader*/, void* client, la_int64_t request) {
  Window& window = *static_cast<Window*>(client);
  const auto step = std::min<uint64_t>(static_cast<uint64_t>(request), window.end - window.at);
  window.at += step;
  return static_cast<la_int64_t>(step);
}

[[noreturn]] void truncated(const std::string& where, const std::string& what) {
  throw DamageError({"the tar is truncated: " + what, where, "copy or download it again"});
}

bool is_zero_block(const InputFile& file, uint64_t at) {
  std::array<std::byte, kBlock> block;
  file.read_at(at, block);
  return std::all_of(block.begin(), block.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

std::string name_of(archive_entry* entry, const std::string& where) {
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr) name = archive_entry_pathname_utf8(entry);
  if (name == nullptr || *name == '\0') throw DamageError({"a member of the tar has no name", where, ""});
  std::vector<std::string_view> parts;
  for (std::string_view rest = name; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(part);
  }
  std::string text;
  for (const std::string_view part : parts) text.append(text.empty() ? "" : "/").append(part);
  return text;
}

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

Reader open_tar(Window& window, const std::string& where) {
  Reader reader(archive_read_new(), &archive_read_free);
  if (reader == nullptr) throw Error({"out of memory: libarchive cannot create a reader", where, ""});
  archive_read_support_format_tar(reader.get());
  if (archive_read_open2(reader.get(), &window, nullptr, on_read, on_skip, nullptr) != ARCHIVE_OK) {
    throw DamageError({"cannot be read as a tar (" + std::string(archive_error_string(reader.get())) + ")", where, ""});
  }
  return reader;
}

}  // namespace

std::string compression_of(std::span<const std::byte> bytes) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kKinds = {{{"\x1f\x8b", "gzip"},
                                                                                           {"BZh", "bzip2"},
                                                                                           {"\xfd"
                                                                                            "7zXZ",
                                                                                            "xz"},
                                                                                           {"\x28\xb5\x2f\xfd", "zstd"},
                                                                                           {"PK\x03\x04", "zip"}}};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const auto& [begins, name] : kKinds) {
    if (text.starts_with(begins)) return std::string(name);
  }
  return "";
}

TarContents read_tar(const InputFile& file, uint64_t offset, uint64_t bytes, const std::string& where) {
  TarContents contents;
  if (offset > file.bytes() || bytes > file.bytes() - offset) truncated(where, "it ends before its last member");
  if (bytes == 0) throw DamageError({"an empty file, not a tar", where, ""});
  Window window{file, offset, offset + bytes, {}, {}};
  const Reader reader = open_tar(window, where);
  uint64_t end = offset;  // of the previous member, with its padding
  for (;;) {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(reader.get(), &entry);
    if (!window.failure.empty()) throw Error({"cannot read the tar (" + window.failure + ")", where, ""});
    if (code == ARCHIVE_EOF) break;
    if (code < ARCHIVE_WARN) {
      throw DamageError({"the tar is damaged at byte " + std::to_string(end - offset) + " (" +
                             archive_error_string(reader.get()) + ")",
                         where, "copy or download it again"});
    }
    // Members follow each other without gaps, so each must begin where the previous one ended: that confirms both
    // positions.
    const uint64_t begin = offset + static_cast<uint64_t>(archive_read_header_position(reader.get()));
    if (begin != end) throw DamageError({"a gap in the tar at byte " + std::to_string(end - offset), where, ""});
    const uint64_t data = offset + static_cast<uint64_t>(archive_filter_bytes(reader.get(), 0));
    const bool regular = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
    const uint64_t size = regular ? static_cast<uint64_t>(archive_entry_size(entry)) : 0;
    const std::string name = name_of(entry, where);
    end = data + (size + kBlock - 1) / kBlock * kBlock;
    // A sparse file is stored in fewer bytes than its size: looked at first, or the tar would seem to be cut short.
    if (regular && archive_entry_sparse_count(entry) > 0) {
      throw DamageError({"'" + name + "' is stored as a sparse file, so it cannot be read in place", where,
                         "make the tar again without --sparse"});
    }
    if (data + size > offset + bytes) truncated(where, "it ends inside '" + name + "'");
    if (archive_entry_filetype(entry) == AE_IFDIR) continue;
    if (name.empty()) throw DamageError({"a member of the tar has no name", where, ""});
    if (regular) {
      contents.members.push_back({name, data, size});
    } else {
      const bool link = archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFLNK;
      (link ? contents.links : contents.special).push_back(name);
    }
  }
  if (end + kBlock > offset + bytes || !is_zero_block(file, end)) truncated(where, "it has no end mark");
  return contents;
}

}  // namespace packhorse

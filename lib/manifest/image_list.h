// The list of images: the pipeline's single source of truth for which images there are, and in which order.
//
// On disk (`train.lst`): plain text, one line for each image, in shuffled order. An image that is a file of its own:
//     id TAB label TAB path                          (MXNet's im2rec reads and writes the same)
// An image inside an archive, which is read without unpacking the archive:
//     id TAB label TAB archive TAB offset TAB bytes TAB member
// `id` is the line's number from 0. Paths are relative to the list's root, which its manifest names. In names, a tab, a
// newline and a backslash are written \t, \n and \\.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace packhorse {

struct ImageEntry {
  uint64_t id = 0;
  uint32_t label = 0;
  std::string path;     ///< the file with the bytes: the image itself, or the archive
  std::string member;   ///< name inside the archive; empty if the image is a file of its own
  uint64_t offset = 0;  ///< of the image's first byte in `path`
  uint64_t bytes = 0;   ///< size of the image; 0 if it is a file of its own: the whole file

  /// The name in messages: the path, or "archive/member".
  std::string name() const { return member.empty() ? path : path + "/" + member; }
};

/// Reads a list; a bad line is a DamageError with the line's number.
std::vector<ImageEntry> read_image_list(const std::filesystem::path& path);
/// Writes a whole list atomically; ids are written as they are.
void write_image_list(const std::filesystem::path& path, const std::vector<ImageEntry>& entries);

/// Escapes and unescapes names, in lists and in quarantine.tsv.
std::string escape_name(const std::string& name);
std::string unescape_name(const std::string& text);

}  // namespace packhorse

// The list of images, the pipeline's one source of truth for what there is and in which order.
//
// On disk (`train.lst`): plain text, one line an image, in shuffled order. An image that is a file of its own:
//     id TAB label TAB path                          (what MXNet's im2rec reads and writes, too)
// an image inside an archive, addressed without unpacking it:
//     id TAB label TAB archive TAB offset TAB bytes TAB member
// `id` is the line's number from 0; paths are relative to the list's root, which its manifest names. In names a tab,
// a newline and a backslash are written \t, \n and \\.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace packhorse {

struct ImageEntry {
  uint64_t id = 0;
  uint32_t label = 0;
  std::string path;     ///< the file that holds the bytes: the image, or the archive
  std::string member;   ///< name inside the archive; empty for a file of its own
  uint64_t offset = 0;  ///< of the image's first byte inside `path`
  uint64_t bytes = 0;   ///< 0 for a file of its own: its whole length

  /// What a person calls it: the path, or "archive/member".
  std::string name() const { return member.empty() ? path : path + "/" + member; }
};

/// Reads a list; a bad line is a DamageError with its number.
std::vector<ImageEntry> read_image_list(const std::filesystem::path& path);
/// Writes a list whole and atomically; ids are taken as they are.
void write_image_list(const std::filesystem::path& path, const std::vector<ImageEntry>& entries);

/// The escapes of names in lists and in quarantine.tsv.
std::string escape_name(const std::string& name);
std::string unescape_name(const std::string& text);

}  // namespace packhorse

// What a search for images passed over, and why: every entry of a source is an image or has a line here.
//
// Rule: found = images + skipped. `found` counts what a search came across: files, members of tars, lines of listings,
// and those folders and tars that were not looked into.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse {

enum class SkipReason {
  hidden,         ///< the name, or a folder in it, begins with a point; or it is in __MACOSX
  not_image,      ///< neither its name nor its first bytes are those of an image
  empty,          ///< no bytes, and not the name of an image
  unreadable,     ///< its first bytes would have to decide, and cannot be read
  tar,            ///< a tar where tars are not looked into
  outside,        ///< an image that is in no class
  dangling_link,  ///< a link that leads nowhere, or in a circle
  folder_again,   ///< a folder that is listed under another name already, or that lies around the source
  too_deep,       ///< a folder below too many others
  special,        ///< a pipe, a socket or a device
  tar_link,       ///< a link stored in a tar
  comment,        ///< a comment in a listing
};

struct SkippedEntry {
  SkipReason reason;
  std::string path;  ///< relative to the source, as in lists; of a member "archive/member"; of a comment its line
};
using Skipped = std::vector<SkippedEntry>;

/// The reason as skipped.tsv and the manifest write it: "not an image".
std::string_view word_of(SkipReason reason);

/// How many entries there are for each reason, by its word.
std::map<std::string, uint64_t> skipped_by_reason(const Skipped& skipped);

/// "hidden: 2, not an image: 1,024"; empty if nothing was skipped.
std::string skipped_text(const Skipped& skipped);

/// The same as the end of a stage's last line: "; skipped 1,026 (hidden: 2, not an image: 1,024)".
std::string skipped_clause(const Skipped& skipped);

/// The lines of skipped.tsv, `split TAB reason TAB path` each.
std::string skipped_lines(const std::string& split, const Skipped& skipped);

/// Logs the first entries by name, where no skipped.tsv is written.
void log_skipped(const Skipped& skipped);

}  // namespace packhorse

#include "source/skipped.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "manifest/image_list.h"

namespace packhorse {

std::string_view word_of(SkipReason reason) {
  switch (reason) {
    case SkipReason::hidden:
      return "hidden";
    case SkipReason::not_image:
      return "not an image";
    case SkipReason::empty:
      return "empty";
    case SkipReason::unreadable:
      return "unreadable";
    case SkipReason::tar:
      return "tar";
    case SkipReason::outside:
      return "outside of any class";
    case SkipReason::dangling_link:
      return "dangling link";
    case SkipReason::folder_again:
      return "folder listed already";
    case SkipReason::too_deep:
      return "folder too deep";
    case SkipReason::special:
      return "special file";
    case SkipReason::tar_link:
      return "link in a tar";
    case SkipReason::comment:
      return "comment";
  }
  return "";
}

std::map<std::string, uint64_t> skipped_by_reason(const Skipped& skipped) {
  std::map<std::string, uint64_t> counts;
  for (const SkippedEntry& entry : skipped) ++counts[std::string(word_of(entry.reason))];
  return counts;
}

std::string skipped_text(const Skipped& skipped) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : skipped_by_reason(skipped)) parts.push_back(reason + ": " + grouped(count));
  return joined(parts);
}

std::string skipped_clause(const Skipped& skipped) {
  return skipped.empty() ? "" : "; skipped " + grouped(skipped.size()) + " (" + skipped_text(skipped) + ")";
}

std::string skipped_lines(const std::string& split, const Skipped& skipped) {
  std::string lines;
  for (const SkippedEntry& entry : skipped) {
    lines.append(split).append("\t").append(word_of(entry.reason)).append("\t");
    lines.append(escape_name(entry.path)).append("\n");
  }
  return lines;
}

void log_skipped(const Skipped& skipped) {
  constexpr size_t kMost = 20;
  for (size_t i = 0; i < std::min(kMost, skipped.size()); ++i) {
    log_info("skipped " + skipped[i].path + " (" + std::string(word_of(skipped[i].reason)) + ")");
  }
  if (skipped.size() > kMost) {
    log_info("skipped " + grouped(skipped.size() - kMost) + " more (--out FOLDER names all, in skipped.tsv)");
  }
}

}  // namespace packhorse

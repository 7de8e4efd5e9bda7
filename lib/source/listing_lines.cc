#include "source/listing_lines.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "manifest/image_list.h"

namespace packhorse {
namespace {

constexpr const char* kGrammar = "see data_manifests/README.md for the grammar";

bool is_whole_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

ListingLine parse_line(std::string_view line) {
  const size_t tab = line.find('\t');
  if (tab == std::string_view::npos) {
    const size_t space = line.rfind(' ');
    if (space == std::string_view::npos) return {"", std::string(line), 0};
    return {std::string(trimmed(line.substr(0, space))), std::string(line.substr(space + 1)), 0};
  }
  const std::string_view rest = line.substr(tab + 1);
  const size_t second = rest.find('\t');
  if (second == std::string_view::npos) {
    return {unescape_name(std::string(line.substr(0, tab))), std::string(trimmed(rest)), 0};
  }
  // MXNet's form: labels may be written as 3.000000.
  std::string label(rest.substr(0, second));
  const size_t point = label.find('.');
  if (point != std::string::npos && is_whole_number(label.substr(0, point)) &&
      label.find_first_not_of('0', point + 1) == std::string::npos) {
    label.resize(point);
  }
  return {unescape_name(std::string(rest.substr(second + 1))), label, 0};
}

}  // namespace

std::vector<ListingLine> read_listing_lines(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<ListingLine> lines;
  std::string_view rest = text;
  for (uint64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    lines.push_back(parse_line(line));
    lines.back().number = number;
    if (lines.back().label.empty() || line.find('\0') != std::string_view::npos) {
      throw DamageError({"line " + std::to_string(number) + " has no class", path.string(), kGrammar});
    }
  }
  if (lines.empty()) throw DamageError({"the file has no lines", path.string(), kGrammar});
  return lines;
}

}  // namespace packhorse

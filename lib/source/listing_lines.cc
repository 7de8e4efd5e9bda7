#include "source/listing_lines.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "manifest/image_list.h"
#include "source/image_rule.h"

namespace packhorse {
namespace {

constexpr const char* kGrammar = "see data_manifests/README.md for the grammar";

/// A line that is refused.
struct Refusal {
  std::string what, hint = kGrammar;
};

bool is_whole_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> split(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t end = line.find(separator);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

/// "filename" for "# File_Name". A name with a point or a folder stays one: "./image".
std::string plain_word(std::string_view field) {
  static constexpr std::string_view kIgnored = " #\"'_-";
  std::string word;
  for (const unsigned char c : field) {
    if (kIgnored.find(static_cast<char>(c)) == std::string_view::npos) word += static_cast<char>(std::tolower(c));
  }
  return word;
}

/// Whether the first line names columns, as tables do, instead of an image and its class.
bool is_header(std::string_view line) {
  static constexpr std::array<std::string_view, 22> kColumns{
      "path",      "file",     "filename", "filepath", "image", "imagepath", "imagename", "img",
      "imgpath",   "name",     "id",       "index",    "label", "labels",    "class",     "classid",
      "classname", "category", "target",   "synset",   "wnid",  "imageid"};
  const char separator = line.find('\t') != std::string_view::npos  ? '\t'
                         : line.find(',') != std::string_view::npos ? ','
                                                                    : ' ';
  const auto fields = split(line, separator);
  return fields.size() > 1 && std::all_of(fields.begin(), fields.end(), [](std::string_view field) {
           return std::find(kColumns.begin(), kColumns.end(), plain_word(field)) != kColumns.end();
         });
}

bool is_comment(std::string_view line) {
  return line.starts_with('#') && (line.starts_with("# ") || line.find('\t') == std::string_view::npos);
}

/// MXNet's tools write labels as 3.000000.
std::string_view whole_label(std::string_view label) {
  const size_t point = label.find('.');
  const bool whole = point != std::string_view::npos && is_whole_number(label.substr(0, point)) &&
                     label.find_first_not_of('0', point + 1) == std::string_view::npos;
  return whole ? label.substr(0, point) : label;
}

ListingLine parse_spaces(std::string_view line) {
  const size_t space = line.rfind(' ');
  const std::string_view name = space == std::string_view::npos ? "" : trimmed(line.substr(0, space));
  const std::string_view label = space == std::string_view::npos ? line : line.substr(space + 1);
  if (name.ends_with(',') || label.find(',') != std::string_view::npos) {
    throw Refusal{"has commas where tabs separate the fields",
                  "write 'path TAB class' (a comma may be part of a name)"};
  }
  // "x.jpg 1 0": the image's name ended before. A name may have spaces, so its extension has to tell.
  const auto words = split(name, ' ');
  if (words.size() > 1 && !has_image_extension(name) && std::any_of(words.begin(), words.end(), has_image_extension)) {
    throw Refusal{"has more than one field after the image's name: an image can have one class only",
                  "write 'path TAB class'"};
  }
  return {std::string(name), std::string(label), 0};
}

ListingLine parse_line(std::string_view line) {
  const auto fields = split(line, '\t');
  if (fields.size() == 1) return parse_spaces(line);
  if (fields.size() == 2) return {unescape_name(std::string(fields[0])), std::string(trimmed(fields[1])), 0};
  if (fields.size() > 3 || !is_whole_number(fields[0])) {
    throw Refusal{"has " + std::to_string(fields.size()) + " fields: an image can have one class only",
                  "write 'path TAB class' or 'id TAB class TAB path' (a tab in a name is written \\t)"};
  }
  return {unescape_name(std::string(fields[2])), std::string(whole_label(fields[1])), 0};
}

}  // namespace

ListingLines read_listing_lines(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  ListingLines read;
  std::string_view rest = text;
  if (constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf"; rest.starts_with(kByteOrderMark)) {
    rest.remove_prefix(kByteOrderMark.size());
  }
  for (uint64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty()) continue;
    const std::string place = "line " + std::to_string(number);
    try {
      if (is_comment(line)) {
        read.comments.push_back(place + ": " + std::string(line));
        continue;
      }
      if (read.lines.empty() && is_header(line)) {
        throw Refusal{"is a header, '" + std::string(line) + "', not an image",
                      "remove it (an image of that name is written with ./ before it)"};
      }
      read.lines.push_back(parse_line(line));
      read.lines.back().number = number;
      if (read.lines.back().label.empty() || line.find('\0') != std::string_view::npos) throw Refusal{"has no class"};
    } catch (const Refusal& refusal) {
      throw DamageError({place + " " + refusal.what, path.string(), refusal.hint});
    }
  }
  if (read.lines.empty()) throw DamageError({"the file has no lines", path.string(), kGrammar});
  return read;
}

}  // namespace packhorse

#include "manifest/image_list.h"

#include <charconv>
#include <string_view>

#include "base/error.h"
#include "base/files.h"

namespace packhorse {
namespace {

/// Splits a line at tabs into at most `kMax` fields; returns their number.
constexpr size_t kMax = 7;
size_t split(std::string_view line, std::string_view (&fields)[kMax]) {
  size_t count = 0;
  while (count < kMax) {
    const size_t tab = line.find('\t');
    fields[count++] = line.substr(0, tab);
    if (tab == std::string_view::npos) break;
    line.remove_prefix(tab + 1);
  }
  return count;
}

template <typename T>
bool parse(std::string_view text, T& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

/// MXNet's im2rec writes labels as decimal fractions ("3.000000").
bool parse_label(std::string_view text, uint32_t& label) {
  const size_t point = text.find('.');
  if (point != std::string_view::npos && text.find_first_not_of('0', point + 1) != std::string_view::npos) return false;
  return parse(text.substr(0, point), label);
}

}  // namespace

std::string escape_name(const std::string& name) {
  std::string text;
  text.reserve(name.size());
  for (const char c : name) {
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

std::string unescape_name(const std::string& text) {
  std::string name;
  name.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      name += text[i];
      continue;
    }
    const char c = text[++i];
    name += c == 't' ? '\t' : c == 'n' ? '\n' : c;
  }
  return name;
}

std::vector<ImageEntry> read_image_list(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<ImageEntry> entries;
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    std::string_view fields[kMax];
    const size_t count = split(line, fields);
    ImageEntry entry;
    bool good = (count == 3 || count == 6) && parse(fields[0], entry.id) && parse_label(fields[1], entry.label) &&
                !fields[2].empty();
    if (good && count == 6) {
      good = parse(fields[3], entry.offset) && parse(fields[4], entry.bytes) && !fields[5].empty();
      entry.member = unescape_name(std::string(fields[5]));
    }
    if (!good) {
      throw DamageError(
          {"line " + std::to_string(number) + " is not a valid image entry: " + std::string(line.substr(0, 120)),
           path.string(), "see data_manifests/README.md for the grammar"});
    }
    entry.path = unescape_name(std::string(fields[2]));
    entries.push_back(std::move(entry));
  }
  return entries;
}

void write_image_list(const std::filesystem::path& path, const std::vector<ImageEntry>& entries) {
  OutputFile file(path);
  for (const ImageEntry& entry : entries) {
    std::string line = std::to_string(entry.id) + "\t" + std::to_string(entry.label) + "\t" + escape_name(entry.path);
    if (!entry.member.empty()) {
      line +=
          "\t" + std::to_string(entry.offset) + "\t" + std::to_string(entry.bytes) + "\t" + escape_name(entry.member);
    }
    file.write(line + "\n");
  }
  file.commit();
}

}  // namespace packhorse

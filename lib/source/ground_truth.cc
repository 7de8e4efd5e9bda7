#include "source/ground_truth.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace packhorse {
namespace {

constexpr const char* kGrammar = "data_manifests/README.md has the grammar";

bool is_whole_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

NamedClass parse_line(std::string_view line) {
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
  // MXNet's form; its labels may be written as 3.000000
  std::string label(rest.substr(0, second));
  const size_t point = label.find('.');
  if (point != std::string::npos && is_whole_number(label.substr(0, point)) &&
      label.find_first_not_of('0', point + 1) == std::string::npos) {
    label.resize(point);
  }
  return {unescape_name(std::string(rest.substr(second + 1))), label, 0};
}

/// A picture's name as ground truth may call it: with its folders, or without.
std::string name_of(const ImageEntry& image) { return image.member.empty() ? image.path : image.member; }
std::string base_of(const std::string& name) { return name.substr(name.rfind('/') + 1); }

/// By the order of the lines: the n-th line is of the n-th picture in the order of their names.
void apply_in_order(const std::vector<NamedClass>& lines, const ClassTable& classes, const std::string& where,
                    std::vector<ImageEntry>& images) {
  if (lines.size() != images.size()) {
    throw Error({"ground truth of " + grouped(lines.size()) + " lines for " + grouped(images.size()) + " pictures",
                 where, "it must have one class a line, in the sorted order of the pictures' names"});
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    images[i].label = label_for(lines[i].label, classes, where + ", line " + std::to_string(lines[i].line));
  }
}

}  // namespace

std::vector<NamedClass> read_named_classes(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<NamedClass> lines;
  std::string_view rest = text;
  for (uint64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    lines.push_back(parse_line(line));
    lines.back().line = number;
    if (lines.back().label.empty() || line.find('\0') != std::string_view::npos) {
      throw DamageError({"line " + std::to_string(number) + " names no class", path.string(), kGrammar});
    }
  }
  if (lines.empty()) throw DamageError({"a list without a line", path.string(), kGrammar});
  return lines;
}

uint32_t label_for(const std::string& label, const ClassTable& classes, const std::string& where) {
  if (const auto found = classes.label_of(label)) return *found;
  uint32_t index = 0;
  const auto [end, code] = std::from_chars(label.data(), label.data() + label.size(), index);
  if (code == std::errc() && end == label.data() + label.size() && index < classes.size()) return index;
  throw Error({"the class '" + label + "' is not in the class table (of " + grouped(classes.size()) + " classes)",
               where, "add it to the table that the description names under \"classes\", or take the picture away"});
}

void apply_ground_truth(const std::filesystem::path& path, const ClassTable& classes, std::vector<ImageEntry>& images) {
  const std::vector<NamedClass> lines = read_named_classes(path);
  const std::string where = path.string();
  const auto unnamed = std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.name.empty(); });
  if (unnamed == static_cast<int64_t>(lines.size())) return apply_in_order(lines, classes, where, images);
  if (unnamed > 0) throw DamageError({"some lines name their picture and some do not", where, kGrammar});

  std::unordered_map<std::string, const NamedClass*> by_name;
  for (const NamedClass& line : lines) {
    if (!by_name.emplace(base_of(line.name), &line).second) {
      throw DamageError({"'" + base_of(line.name) + "' stands twice, again in line " + std::to_string(line.line), where,
                         "remove one of the two lines"});
    }
  }
  for (ImageEntry& image : images) {
    const auto line = by_name.find(base_of(name_of(image)));
    if (line == by_name.end()) {
      throw Error({"the picture '" + image.name() + "' has no line", where, "every picture needs one"});
    }
    image.label = label_for(line->second->label, classes, where + ", line " + std::to_string(line->second->line));
    by_name.erase(line);
  }
  if (!by_name.empty()) {
    const auto first = std::min_element(by_name.begin(), by_name.end(),
                                        [](const auto& a, const auto& b) { return a.second->line < b.second->line; });
    throw Error({grouped(by_name.size()) + " lines name no picture that was found; the first: '" + first->second->name +
                     "' in line " + std::to_string(first->second->line),
                 where, "is the source whole?"});
  }
}

}  // namespace packhorse

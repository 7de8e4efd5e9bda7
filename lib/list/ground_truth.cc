#include "list/ground_truth.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "source/listing_lines.h"

namespace packhorse {
namespace {

constexpr const char* kGrammar = "see data_manifests/README.md for the grammar";

/// An image's name in the source, with its folders.
std::string name_of(const ImageEntry& image) { return image.member.empty() ? image.path : image.member; }
std::string base_of(const std::string& name) { return name.substr(name.rfind('/') + 1); }

/// Labels by order: the n-th line belongs to the n-th image in the sorted order of names.
void apply_in_order(const std::vector<ListingLine>& lines, const ClassTable& classes, const std::string& where,
                    std::vector<ImageEntry>& images) {
  if (lines.size() != images.size()) {
    throw Error({"the ground truth has " + counted(lines.size(), "line") + " for " + counted(images.size(), "image"),
                 where, "write one class per line, in the sorted order of the images' names"});
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    images[i].label = label_for(lines[i].label, classes, where + ", line " + std::to_string(lines[i].number));
  }
}

}  // namespace

uint32_t label_for(const std::string& label, const ClassTable& classes, const std::string& where) {
  if (const auto found = classes.label_of(label)) return *found;
  uint32_t index = 0;
  const auto [end, code] = std::from_chars(label.data(), label.data() + label.size(), index);
  if (code == std::errc() && end == label.data() + label.size() && index < classes.size()) return index;
  throw Error({"the class '" + label + "' is not in the class table (of " + counted(classes.size(), "class") + ")",
               where, "add it to the table that the description names under \"classes\", or remove the image"});
}

void apply_ground_truth(const std::filesystem::path& path, const ClassTable& classes, std::vector<ImageEntry>& images) {
  const std::vector<ListingLine> lines = read_listing_lines(path).lines;
  const std::string where = path.string();
  const auto unnamed = std::count_if(lines.begin(), lines.end(), [](const auto& line) { return line.name.empty(); });
  if (unnamed == static_cast<int64_t>(lines.size())) return apply_in_order(lines, classes, where, images);
  if (unnamed > 0) throw DamageError({"some lines name an image and some do not", where, kGrammar});

  std::unordered_map<std::string, const ListingLine*> by_name;
  for (const ListingLine& line : lines) {
    if (!by_name.emplace(base_of(line.name), &line).second) {
      throw DamageError({"'" + base_of(line.name) + "' appears twice, again in line " + std::to_string(line.number),
                         where, "remove one of the two lines"});
    }
  }
  for (ImageEntry& image : images) {
    const auto line = by_name.find(base_of(name_of(image)));
    if (line == by_name.end()) {
      throw Error({"the image '" + image.name() + "' has no line", where, "add a line for every image"});
    }
    image.label = label_for(line->second->label, classes, where + ", line " + std::to_string(line->second->number));
    by_name.erase(line);
  }
  if (!by_name.empty()) {
    const auto first = std::min_element(by_name.begin(), by_name.end(), [](const auto& a, const auto& b) {
      return a.second->number < b.second->number;
    });
    throw Error({counted(by_name.size(), "line") + " of images that were not found; the first: '" +
                     first->second->name + "' in line " + std::to_string(first->second->number),
                 where, "check that the source is complete"});
  }
}

}  // namespace packhorse

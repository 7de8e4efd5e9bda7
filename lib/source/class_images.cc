#include "source/class_images.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Sorts ids; whole numbers come first, by value.
bool id_less(const ClassImages& a, const ClassImages& b) {
  const auto is_number = [](const std::string& id) { return id.find_first_not_of("0123456789") == std::string::npos; };
  const auto key = [&](const ClassImages& each) { return is_number(each.id) ? each.id.size() : SIZE_MAX; };
  return std::pair(key(a), std::string_view(a.id)) < std::pair(key(b), std::string_view(b.id));
}

void check_ids(const std::vector<ClassImages>& classes, const std::filesystem::path& source) {
  for (size_t i = 0; i < classes.size(); ++i) {
    const std::string& id = classes[i].id;
    if (std::any_of(id.begin(), id.end(), [](unsigned char c) { return c < ' '; })) {
      throw Error({"the name of a class has a control character: '" + escape_name(id) + "'", source.string(),
                   "rename it, because names of classes are written to text files"});
    }
    if (i > 0 && id == classes[i - 1].id) {
      throw Error({"the class '" + id + "' appears twice", source.string(), "merge the two, or rename one"});
    }
  }
}

void refuse_empty_classes(const std::vector<ClassImages>& classes, const std::filesystem::path& source) {
  const auto empty = [](const ClassImages& each) { return each.images.empty(); };
  const auto first = std::find_if(classes.begin(), classes.end(), empty);
  if (first == classes.end()) return;
  const auto count = static_cast<uint64_t>(std::count_if(first, classes.end(), empty));
  const std::string more = count > 1 ? " (and " + grouped(count - 1) + " more)" : "";
  throw Error({"no images of class '" + first->id + "'" + more, source.string(),
               "remove the empty class or restore its images"});
}

}  // namespace

std::string extension_of(const std::string& name) {
  const std::string base = name.substr(name.rfind('/') + 1);
  const size_t point = base.rfind('.');
  return point == std::string::npos ? "" : lower(base.substr(point));
}

bool is_hidden(const std::string& name) {
  return name.starts_with('.') || name.find("/.") != std::string::npos || name.starts_with("__MACOSX/");
}

bool is_tar_name(const std::string& name) { return extension_of(name) == ".tar" && !is_hidden(name); }

bool is_image_name(const std::string& name, Skipped& skipped) {
  static constexpr std::array kExtensions = {"",     ".jpg",  ".jpeg", ".jpe", ".jfif", ".png",
                                             ".gif", ".webp", ".bmp",  ".tif", ".tiff"};
  if (is_hidden(name)) {
    ++skipped["hidden files"];
    return false;
  }
  const std::string extension = extension_of(name);
  if (std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end()) return true;
  ++skipped[extension + " files"];
  return false;
}

std::string class_of_tar(const std::string& name) {
  const std::string base = name.substr(name.rfind('/') + 1);
  return base.substr(0, base.size() - 4);
}

void add_skipped(const Skipped& from, Skipped& to) {
  for (const auto& [what, count] : from) to[what] += count;
}

void add_member(const std::string& archive, const TarMember& member, const std::string& prefix, ClassImages& images) {
  if (!is_image_name(member.name, images.skipped)) return;
  ImageEntry image;
  image.path = archive;
  image.member = prefix + member.name;
  image.offset = member.offset;
  image.bytes = member.bytes;
  images.images.push_back(std::move(image));
}

void count_special_members(uint64_t count, Skipped& skipped) {
  if (count > 0) skipped["links and special members"] += count;
}

void join_classes(std::vector<ClassImages> classes, const std::filesystem::path& source, SourceImages& joined) {
  std::sort(classes.begin(), classes.end(), id_less);
  check_ids(classes, source);
  refuse_empty_classes(classes, source);
  uint64_t total = 0;
  for (const ClassImages& each : classes) total += each.images.size();
  joined.images.reserve(total);
  for (ClassImages& each : classes) {
    const auto label = static_cast<uint32_t>(joined.classes.size());
    for (ImageEntry& image : each.images) {
      image.label = label;
      joined.images.push_back(std::move(image));
    }
    joined.classes.push_back(each.id);
    add_skipped(each.skipped, joined.skipped);
    each = ClassImages{};
  }
}

}  // namespace packhorse

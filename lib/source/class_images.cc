#include "source/class_images.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {
namespace {

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
  const std::string there = first->skipped.empty() ? "" : "; skipped there: " + skipped_text(first->skipped);
  const bool tars = std::any_of(first->skipped.begin(), first->skipped.end(),
                                [](const SkippedEntry& entry) { return entry.reason == SkipReason::tar; });
  throw Error(
      {"no images of class '" + first->id + "'" + more + there, source.string(),
       tars ? "give the folder or the tar that holds these tars itself: a tar inside of a class is not looked into"
            : "remove the empty class or restore its images"});
}

}  // namespace

std::string class_of_tar(const std::string& name) {
  const std::string base = name.substr(name.rfind('/') + 1);
  return base.substr(0, base.size() - 4);
}

std::optional<SkipReason> why_not_image(const InputFile& file, const TarMember& member) {
  return why_not_image(member.name, [&] {
    std::vector<std::byte> head(std::min<uint64_t>(kHeadBytes, member.bytes));
    file.read_at(member.offset, head);
    return std::optional(std::move(head));
  });
}

ImageEntry member_entry(const std::string& archive, const TarMember& member, const std::string& prefix) {
  ImageEntry image;
  image.path = archive;
  image.member = prefix + member.name;
  image.offset = member.offset;
  image.bytes = member.bytes;
  return image;
}

void add_members(const InputFile& file, const std::string& archive, const TarContents& contents,
                 const std::string& prefix, ClassImages& images) {
  for (const TarMember& member : contents.members) {
    ++images.found;
    ImageEntry image = member_entry(archive, member, prefix);
    if (const auto reason = why_not_image(file, member)) {
      images.skip(*reason, image.name());
    } else {
      images.images.push_back(std::move(image));
    }
  }
  skip_special_members(archive, contents, prefix, images);
}

void skip_special_members(const std::string& archive, const TarContents& contents, const std::string& prefix,
                          ClassImages& images) {
  images.found += contents.links.size() + contents.special.size();
  const std::string folder = archive + "/" + prefix;
  for (const std::string& name : contents.links) images.skip(SkipReason::tar_link, folder + name);
  for (const std::string& name : contents.special) images.skip(SkipReason::special, folder + name);
}

SourceImages join_classes(std::vector<ClassImages> classes, ClassImages outside, const std::filesystem::path& source) {
  std::sort(classes.begin(), classes.end(), id_less);
  check_ids(classes, source);
  refuse_empty_classes(classes, source);
  SourceImages joined = without_classes(std::move(outside));
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
    joined.found += each.found;
    std::move(each.skipped.begin(), each.skipped.end(), std::back_inserter(joined.skipped));
    each = ClassImages{};
  }
  return joined;
}

SourceImages without_classes(ClassImages all) {
  SourceImages images;
  images.images = std::move(all.images);
  images.skipped = std::move(all.skipped);
  images.found = all.found;
  return images;
}

}  // namespace packhorse

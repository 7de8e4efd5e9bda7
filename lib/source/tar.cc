// A tar of class tars (the form of the ImageNet release), with one folder per class, or with images only.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "source/class_images.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool recognise(const SourceLook& look) {
  if (look.is_folder || !look.compression.empty()) return false;
  constexpr size_t kMagicOffset = 257;
  constexpr std::string_view kMagic = "ustar";
  const std::string_view head(reinterpret_cast<const char*>(look.head.data()), look.head.size());
  return (head.size() >= kMagicOffset + kMagic.size() && head.substr(kMagicOffset, kMagic.size()) == kMagic) ||
         extension_of(look.path.filename().string()) == ".tar";
}

/// The folders in a member's name.
std::vector<std::string_view> folders_of(std::string_view name) {
  std::vector<std::string_view> folders;
  for (size_t slash = name.find('/'); slash != std::string_view::npos; slash = name.find('/')) {
    folders.push_back(name.substr(0, slash));
    name.remove_prefix(slash + 1);
  }
  return folders;
}

/// How many leading folders all members share before the class folders ("train/" in train/n01440764/x.JPEG): each image
/// keeps at least one folder. All `members` are in folders.
size_t shared_folders(const std::vector<TarMember>& members) {
  std::optional<std::vector<std::string_view>> shared;
  for (const TarMember& member : members) {
    auto folders = folders_of(member.name);
    folders.pop_back();
    if (!shared) {
      shared = folders;
    } else {
      const auto [end, other] = std::mismatch(shared->begin(), shared->end(), folders.begin(), folders.end());
      shared->erase(end, shared->end());
    }
  }
  return shared ? shared->size() : 0;
}

SourceImages list_class_tars(const InputFile& file, const std::vector<TarMember>& tars, ClassImages outside) {
  const std::string name = file.path().filename().string();
  std::vector<ClassImages> classes;
  classes.reserve(tars.size());
  for (const TarMember& tar : tars) classes.push_back({class_of_tar(tar.name), {}, {}});
  for_each_class(classes, [&](ClassImages& each, size_t i) {
    const std::string where = file.path().string() + "/" + tars[i].name;
    if (tars[i].bytes == 0) throw DamageError({"an empty class tar", where, "remove it or restore its images"});
    add_members(file, name, read_tar(file, tars[i].offset, tars[i].bytes, where), tars[i].name + "/", each);
  });
  return join_classes(std::move(classes), std::move(outside), file.path());
}

SourceImages list_class_folders(const InputFile& file, std::vector<TarMember> images, ClassImages outside) {
  const std::string name = file.path().filename().string();
  const auto in_folder = std::stable_partition(
      images.begin(), images.end(), [](const TarMember& image) { return image.name.find('/') == std::string::npos; });
  if (in_folder == images.end() && !images.empty()) {
    throw Error(
        {"the tar holds " + counted(images.size(), "image") + " and no class folders, so nothing gives the classes",
         file.path().string(),
         "make a tar with one folder per class; for separate validation images, a \"ground_truth\" file in the "
         "description will do"});
  }
  for (auto image = images.begin(); image != in_folder; ++image) {
    outside.skip(SkipReason::outside, member_entry(name, *image).name());
  }
  images.erase(images.begin(), in_folder);
  const size_t shared = shared_folders(images);
  std::map<std::string, ClassImages> by_class;
  for (const TarMember& image : images) {
    const std::string id(folders_of(image.name)[shared]);
    ClassImages& each = by_class[id];
    each.id = id;
    each.images.push_back(member_entry(name, image));
  }
  std::vector<ClassImages> classes;
  classes.reserve(by_class.size());
  for (auto& [id, each] : by_class) classes.push_back(std::move(each));
  return join_classes(std::move(classes), std::move(outside), file.path());
}

SourceImages list(const fs::path& source, Labels labels) {
  const InputFile file(source);
  const std::string name = source.filename().string();
  TarContents contents = read_tar(file, 0, file.bytes(), source.string());
  if (labels == Labels::elsewhere) {
    ClassImages all;
    add_members(file, name, contents, "", all);
    return without_classes(std::move(all));
  }
  const bool class_tars = std::any_of(contents.members.begin(), contents.members.end(),
                                      [](const TarMember& member) { return is_tar_name(member.name); });
  ClassImages outside;
  std::vector<TarMember> tars, images;
  for (TarMember& member : contents.members) {
    if (is_tar_name(member.name)) {
      tars.push_back(std::move(member));
      continue;
    }
    if (const auto reason = why_not_image(file, member)) {
      outside.skip(*reason, member_entry(name, member).name());
    } else if (class_tars) {
      outside.skip(SkipReason::outside, member_entry(name, member).name());
    } else {
      images.push_back(std::move(member));
    }
  }
  outside.found = contents.members.size() - tars.size();
  skip_special_members(name, contents, "", outside);
  if (class_tars) return list_class_tars(file, tars, std::move(outside));
  return list_class_folders(file, std::move(images), std::move(outside));
}

}  // namespace

const SourceFormat kTarFormat = {.recognise = recognise,
                                 .describe = [](const SourceLook&, Labels labels) -> std::string {
                                   return labels == Labels::elsewhere ? "a tar of images" : "a tar of classes";
                                 },
                                 .list = list,
                                 .open = open_stored_images};

}  // namespace packhorse

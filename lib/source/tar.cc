// A tar of class tars (the form of the ImageNet release), with one folder per class, or with images only.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
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
/// keeps at least one folder. Nothing if an image is in no folder.
std::optional<size_t> shared_folders(const std::vector<TarMember>& members) {
  std::optional<std::vector<std::string_view>> shared;
  for (const TarMember& member : members) {
    auto folders = folders_of(member.name);
    if (folders.empty()) return std::nullopt;
    folders.pop_back();
    if (!shared) {
      shared = folders;
    } else {
      const auto [end, other] = std::mismatch(shared->begin(), shared->end(), folders.begin(), folders.end());
      shared->erase(end, shared->end());
    }
  }
  return shared ? std::optional(shared->size()) : std::nullopt;
}

void list_class_tars(const InputFile& file, const std::vector<TarMember>& tars, SourceImages& result) {
  const std::string name = file.path().filename().string();
  std::vector<ClassImages> classes;
  classes.reserve(tars.size());
  for (const TarMember& tar : tars) classes.push_back({class_of_tar(tar.name), {}, {}});
  for_each_class(classes, [&](ClassImages& each, size_t i) {
    const std::string where = file.path().string() + "/" + tars[i].name;
    if (tars[i].bytes == 0) throw DamageError({"an empty class tar", where, "remove it or restore its images"});
    const TarContents contents = read_tar(file, tars[i].offset, tars[i].bytes, where);
    count_special_members(contents.others, each.skipped);
    for (const TarMember& member : contents.members) add_member(name, member, tars[i].name + "/", each);
  });
  join_classes(std::move(classes), file.path(), result);
}

void list_class_folders(const InputFile& file, const std::vector<TarMember>& images, SourceImages& result) {
  if (images.empty()) return;
  const auto shared = shared_folders(images);
  if (!shared) {
    throw Error({"an image is not in a class folder, and there is no ground truth", file.path().string(),
                 "add a \"ground_truth\" file to the description, or make a tar with one folder per class"});
  }
  std::map<std::string, ClassImages> by_class;
  for (const TarMember& image : images) {
    const std::string id(folders_of(image.name)[*shared]);
    ClassImages& each = by_class[id];
    each.id = id;
    add_member(file.path().filename().string(), image, "", each);
  }
  std::vector<ClassImages> classes;
  classes.reserve(by_class.size());
  for (auto& [id, each] : by_class) classes.push_back(std::move(each));
  join_classes(std::move(classes), file.path(), result);
}

SourceImages list(const fs::path& source, Labels labels) {
  SourceImages result;
  const InputFile file(source);
  TarContents contents = read_tar(file, 0, file.bytes(), source.string());
  count_special_members(contents.others, result.skipped);
  std::vector<TarMember> tars, images;
  for (TarMember& member : contents.members) {
    if (is_tar_name(member.name)) {
      tars.push_back(std::move(member));
    } else if (is_image_name(member.name, result.skipped)) {
      images.push_back(std::move(member));
    }
  }
  if (labels == Labels::elsewhere) {
    ClassImages all;
    for (const TarMember& image : images) add_member(source.filename().string(), image, "", all);
    result.images = std::move(all.images);
    if (!tars.empty()) result.skipped[".tar files"] += tars.size();
  } else if (!tars.empty()) {
    if (!images.empty()) result.skipped["images outside of any class's tar"] += images.size();
    list_class_tars(file, tars, result);
  } else {
    list_class_folders(file, images, result);
  }
  return result;
}

}  // namespace

const SourceFormat kTarFormat = {.recognise = recognise,
                                 .describe = [](const SourceLook&, Labels labels) -> std::string {
                                   return labels == Labels::elsewhere ? "a tar of images" : "a tar of classes";
                                 },
                                 .list = list,
                                 .open = open_stored_images};

}  // namespace packhorse

// A folder with one plain tar per class: n01440764.tar.
#include "base/files.h"
#include "source/class_images.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool recognise(const SourceLook& look) {
  if (!look.is_folder) return false;
  bool tars = false;
  for (const auto& entry : fs::directory_iterator(look.path)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !is_hidden(name)) return false;
    tars |= is_tar_name(name);
  }
  return tars;
}

void list_tar(const fs::path& root, const std::string& name, ClassImages& images) {
  const InputFile file(root / name);
  const TarContents contents = read_tar(file, 0, file.bytes(), file.path().string());
  count_special_members(contents.others, images.skipped);
  for (const TarMember& member : contents.members) add_member(name, member, "", images);
}

SourceImages list(const fs::path& source, Labels labels) {
  if (labels == Labels::elsewhere) return kFolderFormat.list(source, labels);
  SourceImages result;
  std::vector<ClassImages> classes;
  std::vector<std::string> tars;
  uint64_t outside = 0;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (is_tar_name(name)) {
      tars.push_back(name);
      classes.push_back({class_of_tar(name), {}, {}});
    } else if (!entry.is_directory() && is_image_name(name, result.skipped)) {
      ++outside;
    }
  }
  if (outside > 0) result.skipped["images outside of any class's tar"] += outside;
  for_each_class(classes, [&](ClassImages& each, size_t i) { list_tar(source, tars[i], each); });
  join_classes(std::move(classes), source, result);
  return result;
}

}  // namespace

const SourceFormat kClassTarsFormat = {.recognise = recognise,
                                       .describe = [](const SourceLook& look, Labels labels) -> std::string {
                                         if (labels == Labels::elsewhere) return kFolderFormat.describe(look, labels);
                                         return "a folder of class tars";
                                       },
                                       .list = list,
                                       .open = open_stored_images};

}  // namespace packhorse

// A folder with one plain tar per class: n01440764.tar.
#include "base/files.h"
#include "source/class_images.h"
#include "source/folder_walk.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool recognise(const SourceLook& look) {
  if (!look.is_folder) return false;
  bool tars = false;
  for (const auto& entry : fs::directory_iterator(look.path)) {
    const std::string name = entry.path().filename().string();
    if (type_of(entry) == fs::file_type::directory && !is_hidden(name)) return false;
    tars |= is_tar_name(name);
  }
  return tars;
}

void list_tar(const fs::path& root, const std::string& name, ClassImages& images) {
  const InputFile file(root / name);
  add_members(file, name, read_tar(file, 0, file.bytes(), file.path().string()), "", images);
}

SourceImages list(const fs::path& source, Labels labels) {
  if (labels == Labels::elsewhere) return kFolderFormat.list(source, labels);
  ClassImages outside;
  std::vector<ClassImages> classes;
  std::vector<std::string> tars;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (is_tar_name(name) && type_of(entry) == fs::file_type::regular) {
      tars.push_back(name);
      classes.push_back({class_of_tar(name), {}, {}});
      continue;
    }
    ++outside.found;
    outside.skip(why_not_listed(entry, name).value_or(SkipReason::outside), name);
  }
  for_each_class(classes, [&](ClassImages& each, size_t i) { list_tar(source, tars[i], each); });
  return join_classes(std::move(classes), std::move(outside), source);
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

// A folder with one folder per class (images anywhere below it), or a folder with images only.
#include "base/error.h"
#include "base/text.h"
#include "source/class_images.h"
#include "source/folder_walk.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

SourceImages list_flat(const fs::path& source) {
  ClassImages all;
  walk_folder(source, "", all);
  return without_classes(std::move(all));
}

[[noreturn]] void refuse_flat(const fs::path& source, uint64_t images) {
  throw Error(
      {"the folder holds " + counted(images, "image") + " and no class folders, so nothing gives the classes",
       source.string(),
       "put the images of each class into a folder that is named after it, or write a listing (path TAB class); "
       "for separate validation images, \"ground_truth\" in the description will do"});
}

SourceImages list(const fs::path& source, Labels labels) {
  if (labels == Labels::elsewhere) return list_flat(source);
  ClassImages outside;
  std::vector<ClassImages> classes;
  uint64_t images = 0;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    const bool folder = type_of(entry) == fs::file_type::directory && !is_hidden(name);
    if (folder && !(entry.is_symlink() && lies_around(entry.path(), source))) {
      classes.push_back({name, {}, {}});
      continue;
    }
    ++outside.found;
    const auto reason = folder ? SkipReason::folder_again : why_not_listed(entry, name);
    if (!reason) ++images;
    outside.skip(reason.value_or(SkipReason::outside), name);
  }
  if (classes.empty() && images > 0) refuse_flat(source, images);
  for_each_class(classes, [&](ClassImages& each, size_t) { walk_folder(source, each.id, each); });
  return join_classes(std::move(classes), std::move(outside), source);
}

}  // namespace

const SourceFormat kFolderFormat = {.recognise = [](const SourceLook& look) { return look.is_folder; },
                                    .describe = [](const SourceLook&, Labels labels) -> std::string {
                                      return labels == Labels::elsewhere ? "a folder of images" : "a folder a class";
                                    },
                                    .list = list,
                                    .open = open_stored_images};

}  // namespace packhorse

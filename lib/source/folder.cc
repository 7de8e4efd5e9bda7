// A folder with one folder per class (images anywhere below it), or a folder with images only.
#include "source/class_images.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// All images below `folder`. Links to folders are not followed, because they could form a loop.
void walk_folder(const fs::path& root, const fs::path& folder, ClassImages& images) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) continue;
    if (!is_image_name(entry.path().filename().string(), images.skipped)) continue;
    if (!entry.is_regular_file() && !entry.is_symlink()) {  // reading a pipe would block forever
      ++images.skipped["pipes, sockets and devices"];
      continue;
    }
    ImageEntry image;
    image.path = entry.path().lexically_relative(root).generic_string();
    images.images.push_back(std::move(image));
  }
}

SourceImages list_flat(const fs::path& source) {
  ClassImages all;
  walk_folder(source, source, all);
  SourceImages result;
  result.images = std::move(all.images);
  result.skipped = std::move(all.skipped);
  return result;
}

SourceImages list(const fs::path& source, Labels labels) {
  if (labels == Labels::elsewhere) return list_flat(source);
  SourceImages result;
  std::vector<ClassImages> classes;
  uint64_t outside = 0, tars = 0;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !is_hidden(name)) {
      classes.push_back({name, {}, {}});
    } else if (is_tar_name(name)) {
      ++tars;
    } else if (is_image_name(name, result.skipped)) {
      ++outside;
    }
  }
  if (outside > 0) result.skipped["images outside of any class's folder"] += outside;
  if (tars > 0) result.skipped["tars next to the class folders"] += tars;
  for_each_class(classes, [&](ClassImages& each, size_t) { walk_folder(source, source / each.id, each); });
  join_classes(std::move(classes), source, result);
  return result;
}

}  // namespace

const SourceFormat kFolderFormat = {.recognise = [](const SourceLook& look) { return look.is_folder; },
                                    .describe = [](const SourceLook&, Labels labels) -> std::string {
                                      return labels == Labels::elsewhere ? "a folder of images" : "a folder a class";
                                    },
                                    .list = list,
                                    .open = open_stored_images};

}  // namespace packhorse

// What the formats share: the images of a class as they are found, and how to join the images of all classes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <tbb/parallel_for.h>

#include "base/files.h"
#include "base/log.h"
#include "source/image_rule.h"
#include "source/source.h"
#include "source/tar_reader.h"

namespace packhorse {

/// The images of one class, or of a source without classes.
struct ClassImages {
  std::string id;
  std::vector<ImageEntry> images;
  Skipped skipped;
  uint64_t found = 0;  ///< entries come across, of any kind

  void skip(SkipReason reason, std::string path) { skipped.push_back({reason, std::move(path)}); }
};

/// The class that a tar holds: n01440764 for "n01440764.tar".
std::string class_of_tar(const std::string& name);

/// Why a member of a tar is not an image, or nothing if it is one.
std::optional<SkipReason> why_not_image(const InputFile& file, const TarMember& member);
/// The entry of an image in a tar. `archive` is the file's path; `prefix` comes before the member's name.
ImageEntry member_entry(const std::string& archive, const TarMember& member, const std::string& prefix = "");

/// Adds the images of one tar, which are all in one class, and says what else is in it.
void add_members(const InputFile& file, const std::string& archive, const TarContents& contents,
                 const std::string& prefix, ClassImages& images);
/// Counts the links and the special members of a tar.
void skip_special_members(const std::string& archive, const TarContents& contents, const std::string& prefix,
                          ClassImages& images);

/// Calls `list(images, index)` for each class, on all cores; the first error ends it.
template <typename List>
void for_each_class(std::vector<ClassImages>& classes, const List& list) {
  constexpr size_t kFew = 1000;  // too few for progress lines: listed within moments
  Progress progress("list", "classes", classes.size(), classes.size() < kFew);
  tbb::parallel_for(size_t{0}, classes.size(), [&](size_t i) {
    list(classes[i], i);
    progress.add();
  });
}

/// Joins classes in the order of their ids. `outside` is what was found outside of them. Throws an Error for a class
/// without images or two classes with one id.
SourceImages join_classes(std::vector<ClassImages> classes, ClassImages outside, const std::filesystem::path& source);
/// The images of a source without classes.
SourceImages without_classes(ClassImages all);

}  // namespace packhorse

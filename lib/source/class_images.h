// What the formats share: which files are images, and how to join the images of all classes of a source.
#pragma once

#include <string>
#include <vector>

#include <tbb/parallel_for.h>

#include "base/log.h"
#include "source/source.h"
#include "source/tar_reader.h"

namespace packhorse {

/// The images of one class, or of a source without classes.
struct ClassImages {
  std::string id;
  std::vector<ImageEntry> images;
  Skipped skipped;
};

/// ".jpg", in lower case; empty if the name has no extension.
std::string extension_of(const std::string& name);
bool is_hidden(const std::string& name);
bool is_tar_name(const std::string& name);
/// True if a file counts as an image by its name; otherwise it is counted in `skipped`.
bool is_image_name(const std::string& name, Skipped& skipped);
/// The class that a tar holds: n01440764 for "n01440764.tar".
std::string class_of_tar(const std::string& name);

void add_skipped(const Skipped& from, Skipped& to);

/// Adds the member of a tar if it is an image. `archive` is the file's path; `prefix` comes before the member's name.
void add_member(const std::string& archive, const TarMember& member, const std::string& prefix, ClassImages& images);
/// Counts members that are neither files nor folders.
void count_special_members(uint64_t count, Skipped& skipped);

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

/// Joins classes in the order of their ids. Throws an Error for a class without images or two classes with one id.
void join_classes(std::vector<ClassImages> classes, const std::filesystem::path& source, SourceImages& joined);

}  // namespace packhorse

// Text files that say which class pictures are of: listings and ground truth.
//
// A listing has a line a picture: `path TAB class`, or MXNet's `id TAB class TAB path`. Ground truth has a line a
// picture: `member class`, or the class alone, in the sorted order of the pictures' names. A class is an id from the
// class table or an index into it, counted from 0; an id wins where it could be either. Fields are parted by tabs, or,
// in lines without one, by the last space. Empty lines and lines that begin with '#' are passed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "manifest/class_table.h"
#include "manifest/image_list.h"

namespace packhorse {

/// A line of either file: `name` is empty where only a class stands.
struct NamedClass {
  std::string name, label;
  uint64_t line = 0;
};

/// Reads a listing or a ground-truth file; throws for a line without a class or an empty file.
std::vector<NamedClass> read_named_classes(const std::filesystem::path& path);

/// The label that a class's id or index means, or an error that names the class and where it was met.
uint32_t label_for(const std::string& label, const ClassTable& classes, const std::string& where);

/// Labels the pictures of a flat source. Every picture needs a line and every line a picture.
void apply_ground_truth(const std::filesystem::path& path, const ClassTable& classes, std::vector<ImageEntry>& images);

}  // namespace packhorse

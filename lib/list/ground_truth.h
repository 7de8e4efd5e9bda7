// The classes of images whose source does not give them. (Grammar of the file: source/listing_lines.h.)
//
// A class is an id from the class table or an index into it, from 0; a text that could be either is an id.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "classes/class_table.h"
#include "manifest/image_list.h"

namespace packhorse {

/// The label of a class, given by id or index; throws an Error with the class and `where` if there is no such class.
uint32_t label_for(const std::string& label, const ClassTable& classes, const std::string& where);

/// Labels the images of a source without classes. Every image needs a line and every line an image.
void apply_ground_truth(const std::filesystem::path& path, const ClassTable& classes, std::vector<ImageEntry>& images);

}  // namespace packhorse

// All images below a folder, and what else is there.
//
// Rule: links are followed, to files and to folders. A folder is listed once in a class, whatever leads to it: first
// those that are really there, then what links lead to, in the order of the links' paths. So a cycle of links ends. A
// link to the source itself, or to a folder around it, is not followed. Hidden folders are not looked into, nor are
// folders more than kMaxDepth below the class.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "source/class_images.h"

namespace packhorse {

inline constexpr int kMaxDepth = 64;

/// The type of what an entry leads to; `not_found` for a link that leads nowhere.
std::filesystem::file_type type_of(const std::filesystem::directory_entry& entry);

/// Why an entry that is no folder is not an image, or nothing if it is one. `name` counts from the source.
std::optional<SkipReason> why_not_listed(const std::filesystem::directory_entry& entry, const std::string& name);

/// True if the folder is the source, or one around it.
bool lies_around(const std::filesystem::path& folder, const std::filesystem::path& source);

/// Adds the images below `source / folder` with paths relative to `source`. An empty `folder` is the source itself.
void walk_folder(const std::filesystem::path& source, const std::string& folder, ClassImages& images);

}  // namespace packhorse

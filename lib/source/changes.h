// Whether the files that images come from are those that they were: by their times, without opening one.
#pragma once

#include <ctime>
#include <filesystem>
#include <vector>

#include "manifest/image_list.h"

namespace packhorse {

/// Whether each file that the entries name is there, and neither its bytes nor its name nor its place has changed in
/// the second `since` (of 1970) or later. `source` is what was listed.
bool unchanged_since(const std::filesystem::path& source, const std::vector<ImageEntry>& images, time_t since);

}  // namespace packhorse

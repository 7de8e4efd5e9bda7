// Choices that a measurement made: which of several ways to compute the same is the fastest on a device.
//
// Rule: two ways may round differently, so all ranks of a training make the same choices, and a training that goes on
// keeps those that its checkpoint states. A choice holds for the device, the library and the shape that it was measured
// with.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace packhorse {

/// By choice_key(): the name of a way, or nothing where there is none.
using Choices = std::map<std::string, std::string>;

/// "NVIDIA H200 | cuDNN 9.19.0 | forward f16 n256 h56 w56 c64 o256 k1 s1 p0": under this name a choice is kept.
std::string choice_key(const std::string& device, const std::string& library, const std::string& shape);

/// Where a user's choices are kept from run to run: packhorse/choices.json in the folder for caches (XDG_CACHE_HOME, or
/// .cache in the home folder). Empty if there is no such folder.
std::filesystem::path choices_path();
/// What the file holds. Nothing if there is none; if it is damaged, a warning says so, too.
Choices read_choices(const std::filesystem::path& path);
/// Adds to the file. A warning if it cannot be written: the next run measures again.
void keep_choices(const std::filesystem::path& path, const Choices& choices);

}  // namespace packhorse

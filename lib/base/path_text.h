// Paths as text. A file's name is bytes, and JSON holds UTF-8 only.
//
// Grammar: a byte that is no part of UTF-8 is written as %XX, two hexadecimal digits; so is a percent sign that two
// hexadecimal digits follow. All else stands for itself.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace packhorse {

std::string text_of_path(const std::filesystem::path& path);
std::filesystem::path path_of_text(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace packhorse

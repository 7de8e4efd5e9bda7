#include "source/image_rule.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "image/decode.h"

namespace packhorse {
namespace {

bool has_image_format(const std::vector<std::byte>& head) {
  static constexpr std::array<std::string_view, 6> kFormats{"JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF"};
  return std::find(kFormats.begin(), kFormats.end(), image_format(head)) != kFormats.end();
}

}  // namespace

std::string extension_of(std::string_view name) {
  const std::string_view base = name.substr(name.rfind('/') + 1);
  const size_t point = base.rfind('.');
  std::string extension(point == std::string_view::npos ? "" : base.substr(point));
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

bool is_hidden(std::string_view name) {
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('/'));
    if (part.starts_with('.') || part == "__MACOSX") return true;
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return false;
}

bool is_tar_name(std::string_view name) { return extension_of(name) == ".tar" && !is_hidden(name); }

bool has_image_extension(std::string_view name) {
  static constexpr std::array<std::string_view, 10> kExtensions{".jpg", ".jpeg", ".jpe", ".jfif", ".png",
                                                                ".gif", ".webp", ".bmp", ".tif",  ".tiff"};
  return std::find(kExtensions.begin(), kExtensions.end(), extension_of(name)) != kExtensions.end();
}

std::optional<SkipReason> why_not_image(std::string_view name, const ReadHead& read_head) {
  if (is_hidden(name)) return SkipReason::hidden;
  if (has_image_extension(name)) return std::nullopt;
  if (is_tar_name(name)) return SkipReason::tar;
  const auto head = read_head();
  if (!head) return SkipReason::unreadable;
  if (head->empty()) return SkipReason::empty;
  return has_image_format(*head) ? std::nullopt : std::optional(SkipReason::not_image);
}

}  // namespace packhorse

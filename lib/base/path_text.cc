#include "base/path_text.h"

#include <cctype>
#include <cstdint>

#include <fmt/core.h>

namespace packhorse {
namespace {

/// The bytes of the character at the front, or 0 if it is no character of UTF-8. (Source: RFC 3629, section 4.)
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xc2 && lead <= 0xdf   ? 2
                       : lead >= 0xe0 && lead <= 0xef ? 3
                       : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                      : 0;
  // Overlong forms, surrogates, and what is beyond U+10FFFF.
  const uint8_t least = lead == 0xe0   ? 0xa0
                        : lead == 0xf0 ? 0x90
                                       : 0x80,
                most = lead == 0xed   ? 0x9f
                       : lead == 0xf4 ? 0x8f
                                      : 0xbf;
  if (bytes == 0 || byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < bytes; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  return bytes;
}

bool hex_digits(std::string_view text) {
  return text.size() >= 2 && std::isxdigit(static_cast<uint8_t>(text[0])) != 0 &&
         std::isxdigit(static_cast<uint8_t>(text[1])) != 0;
}

}  // namespace

std::string text_of_path(const std::filesystem::path& path) {
  const std::string bytes = path.generic_string();
  std::string text;
  for (std::string_view rest = bytes; !rest.empty();) {
    const size_t character = character_bytes(rest);
    if (character == 0 || (rest.front() == '%' && hex_digits(rest.substr(1)))) {
      text += fmt::format("%{:02X}", static_cast<uint8_t>(rest.front()));
      rest.remove_prefix(1);
    } else {
      text += rest.substr(0, character);
      rest.remove_prefix(character);
    }
  }
  return text;
}

std::filesystem::path path_of_text(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const bool coded = text.front() == '%' && hex_digits(text.substr(1));
    bytes += coded ? static_cast<char>(std::stoi(std::string(text.substr(1, 2)), nullptr, 16)) : text.front();
    text.remove_prefix(coded ? 3 : 1);
  }
  return bytes;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t character = character_bytes(text);
    if (character == 0) return false;
    text.remove_prefix(character);
  }
  return true;
}

}  // namespace packhorse

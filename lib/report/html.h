// Texts and images inside a page.
//
// Rule: every text that did not come from this program's source goes through escape_html(), wherever it stands.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace packhorse {

/// Safe as content and inside a quoted attribute; bytes that are not UTF-8 become U+FFFD.
std::string escape_html(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

/// "data:image/jpeg;base64,..." of an image's file (any format that we read) for a page: one larger than `edge` pixels
/// on its short side is made smaller. Empty where the image cannot be decoded.
std::string image_url(std::span<const uint8_t> bytes, int edge);

/// "93.1 %".
std::string percent_text(double fraction);

}  // namespace packhorse

// Texts and images for HTML pages.
//
// Rule: every text that is not a literal of this program goes through escape_html(), anywhere on the page.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace packhorse {

/// Makes a text safe as content and inside a quoted attribute. Bytes that are not UTF-8 become U+FFFD.
std::string escape_html(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

/// "data:image/jpeg;base64,..." from the bytes of an image file (any format that we read). An image with a short edge
/// above `edge` pixels is scaled down to it. Empty if the image cannot be decoded.
std::string image_url(std::span<const uint8_t> bytes, int edge);

/// "93.1 %".
std::string percent_text(double fraction);

}  // namespace packhorse

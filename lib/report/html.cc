#include "report/html.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/jpeg.h"

namespace packhorse {
namespace {

constexpr int kThumbnailQuality = 88;
constexpr size_t kLargeFile =
    40'000;  // bytes: a larger file of a small image contains more than the image, for example metadata

/// Number of bytes of the UTF-8 character that begins at text[0], or 0 if none does. (RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF.)
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  const bool bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                   (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return bad ? 0 : length;
}

std::string data_url(std::span<const uint8_t> jpeg) { return "data:image/jpeg;base64," + base64(jpeg); }

}  // namespace

std::string escape_html(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character_bytes(text);
    const char c = text.front();
    if (length == 0 || (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')) {
      safe += "\xef\xbf\xbd";
    } else if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else if (c == '>') {
      safe += "&gt;";
    } else if (c == '"') {
      safe += "&quot;";
    } else if (c == '\'') {
      safe += "&#39;";
    } else {
      safe += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(1, length));
  }
  return safe;
}

std::string base64(std::span<const uint8_t> bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t word = 0;
    for (size_t i = 0; i < 3; ++i) word = word << 8 | (i < count ? bytes[at + i] : 0u);
    for (size_t i = 0; i < 4; ++i) text += i <= count ? kDigits[word >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string image_url(std::span<const uint8_t> bytes, int edge) {
  try {
    const auto raw = std::as_bytes(bytes);
    DecodedImage image, thumbnail;
    decode_image(raw, image);
    const Size size{image.width, image.height};
    const Size small = shrunk_to_short_edge(size, edge);
    if (small == size && image_format(raw) == "JPEG" && bytes.size() < kLargeFile) return data_url(bytes);
    resample(image, small, thumbnail);
    const auto jpeg = encode_jpeg(thumbnail, kThumbnailQuality);
    return data_url({reinterpret_cast<const uint8_t*>(jpeg.data()), jpeg.size()});
  } catch (const DamageError&) {
    return "";  // the page still shows the predictions
  }
}

std::string percent_text(double fraction) { return fmt::format("{:.1f} %", 100 * fraction); }

}  // namespace packhorse

#include "image/decode.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "image/jpeg.h"
#include "image/pixel_budget.h"
#include "image/png.h"
#include "image/webp.h"

namespace packhorse {
namespace {

bool looks_like_html(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n\xef\xbb\xbf"), text.size());
  std::string word(text.substr(begin, 14));
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word.starts_with("<html") || word.starts_with("<!doctype html") || word.starts_with("<head");
}

struct Signature {
  std::string_view name, begins;
};
constexpr std::array kSignatures = {
    Signature{"JPEG", "\xff\xd8\xff"},
    Signature{"PNG", "\x89PNG\r\n\x1a\n"},
    Signature{"GIF", "GIF8"},
    Signature{"BMP", "BM"},
    Signature{"TIFF", {"II*\0", 4}},
    Signature{"TIFF", {"MM\0*", 4}},
    Signature{"JPEG 2000", {"\0\0\0\x0cjP", 6}},
    Signature{"PDF", "%PDF"},
    Signature{"Photoshop file", "8BPS"},
    Signature{"gzip file", "\x1f\x8b"},
    Signature{"XML or SVG file", "<?xml"},
    Signature{"SVG file", "<svg"},
};

enum class Container { jpeg, png, webp };

/// Throws a DamageError that names any other format.
Container container_of(std::span<const std::byte> bytes) {
  const std::string format = image_format(bytes);
  if (format == "JPEG") return Container::jpeg;
  if (format == "PNG") return Container::png;
  if (format == "WebP") return Container::webp;
  if (format == "empty") throw DamageError({"an empty file", "", ""});
  throw DamageError({format == "unknown" ? "not an image of a known format"
                                         : "the format is " + format + "; only JPEG, PNG and WebP can be read",
                     "", ""});
}

}  // namespace

std::string image_format(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "empty";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 256));
  for (const Signature& each : kSignatures) {
    if (text.starts_with(each.begins)) return std::string(each.name);
  }
  const auto holds = [&](size_t at, std::string_view word) {
    return text.size() >= at && text.substr(at, word.size()) == word;
  };
  if (text.starts_with("RIFF") && holds(8, "WEBP")) return "WebP";
  if (holds(4, "ftyp")) return "HEIF or AVIF";
  if (looks_like_html(text)) return "HTML page";
  return "unknown";
}

Size read_image_size(std::span<const std::byte> bytes) {
  const Container container = container_of(bytes);
  if (container == Container::png) return read_png_size(bytes);
  if (container == Container::webp) return read_webp_size(bytes);
  const JpegInfo info = read_jpeg_info(bytes);
  return {info.width, info.height};
}

void decode_image(std::span<const std::byte> bytes, DecodedImage& dst) {
  switch (container_of(bytes)) {
    case Container::jpeg:
      return decode_jpeg(bytes, dst);
    case Container::png:
      return decode_png(bytes, dst);
    case Container::webp:
      return decode_webp(bytes, dst);
  }
}

void decode_crop(std::span<const std::byte> bytes, Size image, const Crop& crop, int size, DecodedImage& scratch,
                 uint8_t* dst) {
  const Resampler resampler(image, crop, {size, size});
  const Region region = resampler.region();
  const uint8_t* first = nullptr;
  std::optional<PixelPermit> permit;  // of a JPEG only the rows of the crop are decoded
  if (container_of(bytes) == Container::jpeg) {
    decode_jpeg_region(bytes, region, scratch);
    first = scratch.pixels.data();
  } else {
    permit.emplace(image);
    decode_image(bytes, scratch);
    first = scratch.pixels.data() + size_t{3} * (size_t{1} * scratch.width * region.y + region.x);
  }
  resampler.run(first, size_t{3} * scratch.width, dst);
  drop_if_large(scratch);
}

}  // namespace packhorse

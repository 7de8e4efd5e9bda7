#include "image/decode.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include <png.h>

#include "base/error.h"

namespace packhorse {
namespace {

/// The state of libpng's simplified interface; png_image_free() may be called at any time.
struct PngImage {
  png_image state{};
  PngImage() { state.version = PNG_IMAGE_VERSION; }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
  ~PngImage() { png_image_free(&state); }
  [[noreturn]] void fail() const {
    throw DamageError({std::string("not a sound PNG (") + state.message + ")", "", ""});
  }
};

void decode_png(std::span<const std::byte> bytes, DecodedImage& dst) {
  PngImage png;
  if (png_image_begin_read_from_memory(&png.state, bytes.data(), bytes.size()) == 0) png.fail();
  const int64_t width = png.state.width, height = png.state.height;
  if (width > kMaxSide || height > kMaxSide || width * height > kMaxPixels) {
    throw DamageError(
        {"an image of " + std::to_string(width) + " x " + std::to_string(height) + " pixels is too large", "", ""});
  }
  png.state.format = PNG_FORMAT_RGB;
  dst.width = static_cast<int>(width);
  dst.height = static_cast<int>(height);
  dst.pixels.resize(PNG_IMAGE_SIZE(png.state));
  const png_color white = {255, 255, 255};
  if (png_image_finish_read(&png.state, &white, dst.pixels.data(), 0, nullptr) == 0) png.fail();
}

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

void decode_image(std::span<const std::byte> bytes, DecodedImage& dst) { decode_image_for(bytes, kMaxSide, dst); }

void decode_image_for(std::span<const std::byte> bytes, int short_edge, DecodedImage& dst) {
  const std::string format = image_format(bytes);
  if (format == "PNG") return decode_png(bytes, dst);
  if (format == "empty") throw DamageError({"an empty file", "", ""});
  if (format != "JPEG") {
    throw DamageError({format == "unknown" ? "not an image of a known format"
                                           : "the format is " + format + "; only JPEG and PNG can be read",
                       "", ""});
  }
  // The codec has SIMD code for these scales; any other scale would be slower than full size.
  const JpegInfo info = read_jpeg_info(bytes);
  int eighths = 8;
  while (eighths > 1 && scaled_side(std::min(info.width, info.height), eighths / 2) >= short_edge) eighths /= 2;
  decode_jpeg(bytes, dst, eighths);
}

}  // namespace packhorse

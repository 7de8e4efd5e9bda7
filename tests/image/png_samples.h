// PNGs of every kind, made with libpng for the tests: any depth and colour type, palettes, transparency, gAMA chunks,
// interlaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <png.h>

#include "image/decoded_image.h"

namespace packhorse {

struct PngSample {
  int width = 1, height = 1, depth = 8;
  int colour = PNG_COLOR_TYPE_RGB;
  std::vector<unsigned> samples{};    ///< (height, width, channels), as stored: up to 2^depth - 1
  std::vector<png_color> palette{};   ///< for PNG_COLOR_TYPE_PALETTE
  std::vector<uint8_t> alphas{};      ///< tRNS: of the palette's first colours
  std::vector<uint16_t> invisible{};  ///< tRNS: the grey value, or red, green and blue, that is transparent
  double gamma = 0;                   ///< gAMA; 0: no such chunk
  bool interlaced = false;
};

inline std::vector<std::byte> make_png(const PngSample& sample) {
  const int channels = sample.colour == PNG_COLOR_TYPE_RGB          ? 3
                       : sample.colour == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                       : sample.colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                                    : 1;
  const size_t per_row = size_t{1} * sample.width * channels;
  if (sample.samples.size() != per_row * sample.height) throw std::logic_error("a PNG sample has the wrong length");
  std::vector<std::byte> bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp at, png_bytep data, size_t count) {
        const auto* first = reinterpret_cast<const std::byte*>(data);
        auto& dst = *static_cast<std::vector<std::byte>*>(png_get_io_ptr(at));
        dst.insert(dst.end(), first, first + count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(sample.width), static_cast<png_uint_32>(sample.height), sample.depth,
               sample.colour, sample.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  if (!sample.palette.empty()) png_set_PLTE(png, info, sample.palette.data(), static_cast<int>(sample.palette.size()));
  if (!sample.alphas.empty())
    png_set_tRNS(png, info, sample.alphas.data(), static_cast<int>(sample.alphas.size()), nullptr);
  if (!sample.invisible.empty()) {
    png_color_16 key{};
    key.gray = key.red = sample.invisible[0];
    if (sample.invisible.size() == 3) key.green = sample.invisible[1], key.blue = sample.invisible[2];
    png_set_tRNS(png, info, nullptr, 0, &key);
  }
  if (sample.gamma > 0) png_set_gAMA(png, info, sample.gamma);
  png_write_info(png, info);
  png_set_packing(png);  // depths below 8 come as bytes
  const size_t size = sample.depth == 16 ? 2 : 1;
  std::vector<uint8_t> rows;
  for (const unsigned value : sample.samples) {
    if (size == 2) rows.push_back(static_cast<uint8_t>(value >> 8));
    rows.push_back(static_cast<uint8_t>(value));
  }
  std::vector<png_bytep> pointers;
  pointers.reserve(static_cast<size_t>(sample.height));
  for (int y = 0; y < sample.height; ++y) pointers.push_back(rows.data() + per_row * size * y);
  png_write_image(png, pointers.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

/// The pixels of an image, unchanged.
inline std::vector<std::byte> make_png(const DecodedImage& image) {
  return make_png({.width = image.width,
                   .height = image.height,
                   .samples = std::vector<unsigned>(image.pixels.begin(), image.pixels.end())});
}

}  // namespace packhorse

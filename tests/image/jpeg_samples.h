// JPEGs of every kind found in real data sets, made with libjpeg for the tests: grey, colour at any chroma sampling,
// RGB without a colour transform, CMYK and YCCK with and without Adobe's marker, baseline and progressive.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <jpeglib.h>

#include "base/philox.h"
#include "image/jpeg.h"

namespace packhorse {

enum class JpegKind { colour, grey, rgb, cmyk, ycck, cmyk_plain };

/// Luma samples per chroma sample, across and down: {2, 2} is 4:2:0.
struct Sampling {
  int h = 2, v = 2;
};

struct JpegSample {
  int width = 64, height = 48;
  JpegKind kind = JpegKind::colour;
  Sampling sampling = {};
  bool progressive = false, noisy = false;
  bool a_scan_a_coefficient = false;  ///< progressive with 192 scans: valid, but far more than any real file has
  int quality = 92;
};

/// Smooth colour gradients: JPEG keeps them nearly unchanged.
inline DecodedImage smooth_image(int width, int height) {
  DecodedImage image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(40 + 160 * x / width));
      image.pixels.push_back(static_cast<uint8_t>(60 + 120 * y / height));
      image.pixels.push_back(static_cast<uint8_t>(90 + 60 * (x + y) / (width + height)));
    }
  }
  return image;
}

inline std::vector<std::byte> make_jpeg(const JpegSample& sample, DecodedImage image) {
  if (sample.noisy) {
    RandomStream random(5, RandomUse::test, 0, 0);
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(value + random.below(40));
  }
  const bool four = sample.kind >= JpegKind::cmyk;
  const int channels = sample.kind == JpegKind::grey ? 1 : four ? 4 : 3;
  std::vector<uint8_t> samples;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    const uint8_t* at = image.pixels.data() + i;
    if (channels == 1) {
      samples.push_back(at[1]);
    } else {
      for (int c = 0; c < 3; ++c) samples.push_back(sample.kind == JpegKind::cmyk_plain ? 255 - at[c] : at[c]);
      if (four) samples.push_back(sample.kind == JpegKind::cmyk_plain ? 0 : 255);
    }
  }
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* out = nullptr;
  unsigned long bytes = 0;
  jpeg_mem_dest(&codec, &out, &bytes);
  codec.image_width = static_cast<JDIMENSION>(sample.width);
  codec.image_height = static_cast<JDIMENSION>(sample.height);
  codec.input_components = channels;
  codec.in_color_space = channels == 1 ? JCS_GRAYSCALE : four ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&codec);
  if (sample.kind == JpegKind::rgb) jpeg_set_colorspace(&codec, JCS_RGB);
  if (sample.kind == JpegKind::cmyk || sample.kind == JpegKind::cmyk_plain) jpeg_set_colorspace(&codec, JCS_CMYK);
  if (sample.kind == JpegKind::ycck) jpeg_set_colorspace(&codec, JCS_YCCK);
  if (sample.kind == JpegKind::cmyk_plain) codec.write_Adobe_marker = FALSE;
  if (sample.kind == JpegKind::colour) {
    codec.comp_info[0].h_samp_factor = sample.sampling.h;
    codec.comp_info[0].v_samp_factor = sample.sampling.v;
  }
  jpeg_set_quality(&codec, sample.quality, TRUE);
  if (sample.progressive) jpeg_simple_progression(&codec);
  std::vector<jpeg_scan_info> scans;
  if (sample.a_scan_a_coefficient) {
    for (int coefficient = 0; coefficient < DCTSIZE2; ++coefficient) {
      for (int c = 0; c < channels; ++c) scans.push_back({1, {c, 0, 0, 0}, coefficient, coefficient, 0, 0});
    }
    codec.scan_info = scans.data();
    codec.num_scans = static_cast<int>(scans.size());
  }
  jpeg_start_compress(&codec, TRUE);
  while (codec.next_scanline < codec.image_height) {
    JSAMPROW row = samples.data() + size_t(channels) * codec.image_width * codec.next_scanline;
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  const auto* first = reinterpret_cast<const std::byte*>(out);
  std::vector<std::byte> result(first, first + bytes);
  jpeg_destroy_compress(&codec);
  std::free(out);
  return result;
}

inline std::vector<std::byte> make_jpeg(const JpegSample& sample) {
  return make_jpeg(sample, smooth_image(sample.width, sample.height));
}

/// The nearest that a JPEG comes to an image's pixels: quality 100, RGB without a transform, all channels at full size.
inline std::vector<std::byte> encode_rgb_jpeg(const DecodedImage& image) {
  return make_jpeg({.width = image.width, .height = image.height, .kind = JpegKind::rgb, .quality = 100}, image);
}

}  // namespace packhorse

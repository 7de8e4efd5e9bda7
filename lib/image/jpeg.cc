#include "image/jpeg.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

// jpeglib.h needs cstdio, and jerror.h needs jpeglib.h.
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "base/error.h"

namespace packhorse {
namespace {

/// libjpeg reports errors by callback, and the callback must not return to the failed call: it jumps back to guarded().
struct ErrorManager {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf back;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void give_up(j_common_ptr codec) {
  auto* errors = reinterpret_cast<ErrorManager*>(codec->err);
  codec->err->format_message(codec, errors->message.data());
  std::longjmp(errors->back, 1);
}

void on_message(j_common_ptr codec, int level) {
  // Negative is a warning: data was lost or invented. An unknown version of JFIF affects no pixel.
  if (level < 0 && codec->err->msg_code != JWRN_JFIF_MAJOR) give_up(codec);
}

void on_progress(j_common_ptr codec) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
  if (!codec->is_decompressor || decoder->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<ErrorManager*>(codec->err);
  std::snprintf(errors->message.data(), errors->message.size(), "More than %d scans", kMaxScans);
  std::longjmp(errors->back, 1);
}

void prepare(ErrorManager& errors) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = give_up;
  errors.base.emit_message = on_message;
  errors.base.output_message = [](j_common_ptr) {};
}

/// Runs calls of libjpeg; false if one failed. `body` must own nothing during the calls: longjmp runs no destructor.
template <typename Body>
bool guarded(ErrorManager& errors, const Body& body) {
  if (setjmp(errors.back) != 0) return false;
  body();
  return true;
}

struct Decoder {
  ErrorManager errors;
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct codec{};
  std::vector<uint8_t> row;  ///< one row from the codec, if it must still be cropped or converted

  Decoder() {
    prepare(errors);
    codec.err = &errors.base;
    if (!guarded(errors, [this] { jpeg_create_decompress(&codec); })) fail("JPEG");
    progress.progress_monitor = on_progress;
    codec.progress = &progress;
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&codec); }

  [[noreturn]] void fail(const std::string& where) {
    throw DamageError({std::string("not a sound JPEG (") + errors.message.data() + ")", where, ""});
  }

  template <typename Body>
  void run(const Body& body) {
    if (guarded(errors, body)) return;
    jpeg_abort_decompress(&codec);
    fail("");
  }
};

Decoder& decoder() {
  thread_local Decoder instance;
  return instance;
}

[[noreturn]] void refuse(const std::string& what) { throw DamageError({what, "", ""}); }

/// Reads the header and refuses what no later step can use.
JpegInfo read_header(Decoder& decoder, std::span<const std::byte> bytes) {
  if (bytes.size() < 4) refuse("not a JPEG: only " + std::to_string(bytes.size()) + " bytes");
  jpeg_decompress_struct& codec = decoder.codec;
  decoder.run([&] {
    jpeg_mem_src(&codec, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&codec, TRUE);
  });
  const JpegInfo info{static_cast<int>(codec.image_width), static_cast<int>(codec.image_height), codec.num_components};
  std::string problem;
  if (too_large(info.width, info.height)) {
    problem = too_large_text(info.width, info.height);
  } else if (info.components != 1 && info.components != 3 && info.components != 4) {
    problem = "a JPEG with " + std::to_string(info.components) + " components cannot be read";
  } else if (codec.data_precision != 8) {
    problem = "a JPEG with " + std::to_string(codec.data_precision) + " bits per sample cannot be read";
  }
  if (!problem.empty()) {
    jpeg_abort_decompress(&codec);
    refuse(problem);
  }
  return info;
}

/// CMYK to RGB. Files with Adobe's marker, which are nearly all, store inverted ink (the remaining light); others store
/// ink.
void cmyk_row(const uint8_t* src, int width, bool inverted, uint8_t* dst) {
  for (int x = 0; x < width; ++x, src += 4, dst += 3) {
    const unsigned key = inverted ? src[3] : 255u - src[3];
    for (int c = 0; c < 3; ++c) {
      const unsigned light = inverted ? src[c] : 255u - src[c];
      dst[c] = static_cast<uint8_t>((light * key + 127) / 255);
    }
  }
}

/// The columns to decode so that those of `region` are exact: chroma is interpolated from its neighbours, which must be
/// decoded too, and the codec can begin only at the edge of a block.
struct Columns {
  JDIMENSION first = 0, count = 0;
};
Columns columns_for(const Region& region, const jpeg_decompress_struct& codec) {
  constexpr int kMargin = 2 * DCTSIZE * MAX_SAMP_FACTOR / 2;  // one block row of 4:2:0 and more
  const int first = std::max(0, region.x - kMargin);
  const int last = std::min(static_cast<int>(codec.output_width), region.x + region.width + kMargin);
  return {static_cast<JDIMENSION>(first), static_cast<JDIMENSION>(last - first)};
}

/// Decodes rows directly into `dst`, if the codec gives them in its form.
void read_rows_direct(jpeg_decompress_struct& codec, DecodedImage& dst) {
  const size_t stride = size_t{3} * dst.width;
  while (codec.output_scanline < codec.output_height) {
    std::array<JSAMPROW, 8> rows;
    const auto count = std::min<JDIMENSION>(rows.size(), codec.output_height - codec.output_scanline);
    for (JDIMENSION i = 0; i < count; ++i) rows[i] = dst.pixels.data() + (codec.output_scanline + i) * stride;
    jpeg_read_scanlines(&codec, rows.data(), count);
  }
}

/// Decodes rows through a buffer: cropped to the region, CMYK converted. `left` is the region's first column in a row.
void read_rows_buffered(jpeg_decompress_struct& codec, std::vector<uint8_t>& row, int left, DecodedImage& dst) {
  JSAMPROW at = row.data();
  for (int y = 0; y < dst.height; ++y) {
    jpeg_read_scanlines(&codec, &at, 1);
    uint8_t* out = dst.pixels.data() + size_t{3} * dst.width * y;
    if (codec.out_color_space == JCS_CMYK) {
      cmyk_row(row.data() + size_t{4} * left, dst.width, codec.saw_Adobe_marker != FALSE, out);
    } else {
      std::memcpy(out, row.data() + size_t{3} * left, size_t{3} * dst.width);
    }
  }
}

/// Decodes `region`, or everything if it is null.
void decode(std::span<const std::byte> bytes, const Region* region, DecodedImage& dst) {
  Decoder& own = decoder();
  jpeg_decompress_struct& codec = own.codec;
  const JpegInfo info = read_header(own, bytes);
  const int width = info.width, height = info.height;
  const Region want = region != nullptr ? *region : Region{0, 0, width, height};
  if (want.x < 0 || want.y < 0 || want.width < 1 || want.height < 1 || want.width > width - want.x ||
      want.height > height - want.y) {
    jpeg_abort_decompress(&codec);
    throw Error(
        {"the region is outside of an image of " + std::to_string(width) + " x " + std::to_string(height), "", ""});
  }
  dst.width = want.width;
  dst.height = want.height;
  dst.pixels.resize(size_t{3} * want.width * want.height);
  own.row.resize(std::max(own.row.size(), size_t{4} * width));

  own.run([&] {
    codec.out_color_space = info.components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&codec);
    int left = want.x;
    if (want.width < width) {
      Columns columns = columns_for(want, codec);
      jpeg_crop_scanline(&codec, &columns.first, &columns.count);
      left -= static_cast<int>(columns.first);
    }
    if (want.y > 0) jpeg_skip_scanlines(&codec, static_cast<JDIMENSION>(want.y));
    const bool whole = want.width == width && want.height == height;
    if (whole && codec.out_color_space == JCS_RGB) {
      read_rows_direct(codec, dst);
    } else {
      read_rows_buffered(codec, own.row, left, dst);
    }
    if (whole) {
      jpeg_finish_decompress(&codec);
    } else {
      jpeg_abort_decompress(&codec);
    }
  });
}

/// Upper bound of a JPEG's size: three bytes per pixel of whole blocks (16 x 16 at 4:2:0), and its headers.
size_t encoded_bound(int width, int height) { return size_t{3} * ((width + 15) & ~15) * ((height + 15) & ~15) + 4096; }

/// Writes into a vector of its thread that is large enough beforehand: nothing is allocated inside the codec's calls.
struct Encoder {
  ErrorManager errors;
  jpeg_compress_struct codec{};
  jpeg_destination_mgr target{};
  std::vector<std::byte> bytes;

  Encoder() {
    prepare(errors);
    codec.err = &errors.base;
    if (!guarded(errors, [this] { jpeg_create_compress(&codec); })) fail();
    codec.client_data = this;
    codec.dest = &target;
    target.init_destination = [](j_compress_ptr at) {
      Encoder& self = *static_cast<Encoder*>(at->client_data);
      self.target.next_output_byte = reinterpret_cast<JOCTET*>(self.bytes.data());
      self.target.free_in_buffer = self.bytes.size();
    };
    target.empty_output_buffer = [](j_compress_ptr at) -> boolean {
      at->err->msg_code = JERR_BUFFER_SIZE;
      give_up(reinterpret_cast<j_common_ptr>(at));
    };
    target.term_destination = [](j_compress_ptr) {};
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder() { jpeg_destroy_compress(&codec); }

  [[noreturn]] void fail() {
    throw Error({std::string("cannot encode a JPEG (") + errors.message.data() + ")", "", ""});
  }
};

std::vector<std::byte> encode(std::span<const uint8_t> pixels, int width, int height, int channels, int quality) {
  const size_t stride = size_t{1} * channels * static_cast<size_t>(std::max(0, width));
  if (width < 1 || height < 1 || pixels.size() != stride * height) {
    throw Error({"an image of " + std::to_string(width) + " x " + std::to_string(height) + " pixels cannot have " +
                     std::to_string(pixels.size()) + " bytes",
                 "", ""});
  }
  thread_local Encoder own;
  jpeg_compress_struct& codec = own.codec;
  own.bytes.resize(std::max(own.bytes.size(), encoded_bound(width, height)));
  const bool good = guarded(own.errors, [&] {
    codec.image_width = static_cast<JDIMENSION>(width);
    codec.image_height = static_cast<JDIMENSION>(height);
    codec.input_components = channels;
    codec.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&codec);  // 4:2:0, the accurate transform, the standard's Huffman tables
    jpeg_set_quality(&codec, quality, TRUE);
    jpeg_start_compress(&codec, TRUE);
    while (codec.next_scanline < codec.image_height) {
      auto* row = const_cast<JSAMPROW>(pixels.data() + stride * codec.next_scanline);
      jpeg_write_scanlines(&codec, &row, 1);
    }
    jpeg_finish_compress(&codec);
  });
  if (!good) {
    jpeg_abort_compress(&codec);
    own.fail();
  }
  return {own.bytes.begin(), own.bytes.end() - static_cast<ptrdiff_t>(own.target.free_in_buffer)};
}

}  // namespace

JpegInfo read_jpeg_info(std::span<const std::byte> bytes) {
  Decoder& own = decoder();
  const JpegInfo info = read_header(own, bytes);
  jpeg_abort_decompress(&own.codec);
  return info;
}

void decode_jpeg(std::span<const std::byte> bytes, DecodedImage& dst) { decode(bytes, nullptr, dst); }

void decode_jpeg_region(std::span<const std::byte> bytes, const Region& region, DecodedImage& dst) {
  decode(bytes, &region, dst);
}

JpegInfo check_jpeg(std::span<const std::byte> bytes) {
  Decoder& own = decoder();
  jpeg_decompress_struct& codec = own.codec;
  const JpegInfo info = read_header(own, bytes);
  own.row.resize(std::max(own.row.size(), size_t{4} * info.width));
  own.run([&] {
    // At scale 1/8 a block becomes its mean: the entropy decoder reads every code, but the other coefficients are
    // dropped.
    codec.scale_num = 1;
    codec.scale_denom = 8;
    codec.do_fancy_upsampling = FALSE;
    codec.out_color_space = info.components == 4 ? JCS_CMYK : info.components == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_start_decompress(&codec);
    JSAMPROW at = own.row.data();
    while (codec.output_scanline < codec.output_height) jpeg_read_scanlines(&codec, &at, 1);
    jpeg_finish_decompress(&codec);
  });
  return info;
}

std::vector<std::byte> encode_jpeg(const DecodedImage& src, int quality) {
  return encode(src.pixels, src.width, src.height, 3, quality);
}

std::vector<std::byte> encode_grey_jpeg(std::span<const uint8_t> pixels, int width, int height, int quality) {
  return encode(pixels, width, height, 1, quality);
}

}  // namespace packhorse

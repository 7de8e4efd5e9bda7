#include "image/png.h"

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

#include <png.h>

#include "base/error.h"
#include "image/transparency.h"

namespace packhorse {
namespace {

/// libpng reports errors by callback, and the callback must not return to the failed call: it jumps back to run().
class PngReader {
 public:
  /// Reads the header. It delegates, so that the destructor also runs if this throws.
  explicit PngReader(std::span<const std::byte> bytes) : PngReader() {
    rest_ = bytes;
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, give_up, [](png_structp, png_const_charp) {});
    info_ = png_create_info_struct(png_);
    if (png_ == nullptr || info_ == nullptr) fail();
    run([this] {
      png_set_read_fn(png_, this, read);
      // A negative number of chunks: all those that change no stored sample, such as colour profiles and text.
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
      png_read_info(png_, info_);
    });
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  Size size() {
    const int64_t width = png_get_image_width(png_, info_), height = png_get_image_height(png_, info_);
    if (too_large(width, height)) throw DamageError({too_large_text(width, height), "", ""});
    return {static_cast<int>(width), static_cast<int>(height)};
  }

  /// Asks for 8-bit RGB, or RGBA where there is transparency; returns the number of channels.
  int convert() {
    int channels = 0;
    run([&] {
      png_set_expand(png_);
      png_set_scale_16(png_);
      png_set_gray_to_rgb(png_);
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
      channels = png_get_channels(png_, info_);
    });
    return channels;
  }

  void read_rows(uint8_t* dst, size_t stride, int height) {
    run([&] {
      for (int pass = 0; pass < passes_; ++pass) {
        for (int y = 0; y < height; ++y) png_read_row(png_, dst + stride * y, nullptr);
      }
    });
  }

 private:
  PngReader() = default;

  [[noreturn]] static void give_up(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->message_.data(), self->message_.size(), "%s", message);
    std::longjmp(self->back_, 1);
  }

  static void read(png_structp png, png_bytep dst, size_t count) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "truncated");
    std::memcpy(dst, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  [[noreturn]] void fail() const {
    throw DamageError({std::string("not a sound PNG (") + message_.data() + ")", "", ""});
  }

  /// Runs calls of libpng. `body` must own nothing during the calls: longjmp runs no destructor.
  template <typename Body>
  void run(const Body& body) {
    if (setjmp(back_) != 0) fail();
    body();
  }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  std::array<char, 256> message_{};
  std::jmp_buf back_{};
};

}  // namespace

Size read_png_size(std::span<const std::byte> bytes) { return PngReader(bytes).size(); }

void decode_png(std::span<const std::byte> bytes, DecodedImage& dst) {
  PngReader reader(bytes);
  const Size size = reader.size();
  const int channels = reader.convert();
  dst.width = size.width;
  dst.height = size.height;
  const size_t stride = size_t{1} * channels * size.width;
  dst.pixels.resize(stride * size.height);
  reader.read_rows(dst.pixels.data(), stride, size.height);
  if (channels == 4) blend_with_white(dst);
}

}  // namespace packhorse

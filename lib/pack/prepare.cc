#include "pack/prepare.h"

#include <algorithm>
#include <array>
#include <new>
#include <span>

#include <fmt/core.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/jpeg.h"
#include "image/pixel_budget.h"

namespace packhorse {
namespace {

/// A cheap check: the header can be read, and the last bytes have the end mark; some writers add padding behind it.
JpegInfo check_ends(std::span<const std::byte> bytes) {
  const JpegInfo info = read_jpeg_info(bytes);
  const auto tail = bytes.last(std::min<size_t>(bytes.size(), 512));
  constexpr std::array kEnd = {std::byte{0xff}, std::byte{0xd9}};
  if (std::search(tail.begin(), tail.end(), kEnd.begin(), kEnd.end()) == tail.end()) {
    throw DamageError({"the JPEG is truncated: it has no end mark", "", ""});
  }
  return info;
}

void make_jpeg(std::vector<std::byte>& bytes, Size size, const Preparation& preparation) {
  thread_local DecodedImage whole, small;  // their memory is kept for the next image
  decode_image(bytes, whole);
  const Size target = preparation.short_edge > 0 ? shrunk_to_short_edge(size, preparation.short_edge) : size;
  if (target != size) resample(whole, target, small);
  bytes = encode_jpeg(target != size ? small : whole, preparation.quality);
  for (DecodedImage* image : {&whole, &small}) drop_if_large(*image);
}

}  // namespace

void prepare_image(std::vector<std::byte>& bytes, const Preparation& preparation) {
  const int edge = preparation.short_edge;
  if (image_format(bytes) == "JPEG") {
    const auto wants_shrinking = [&](const JpegInfo& info) {
      return edge > 0 && std::min(info.width, info.height) > edge;
    };
    if (!wants_shrinking(read_jpeg_info(bytes))) {
      preparation.decode_check ? check_jpeg(bytes) : check_ends(bytes);
      return;
    }
  }
  const Size size = read_image_size(bytes);
  const PixelPermit permit(size);
  try {
    make_jpeg(bytes, size, preparation);
  } catch (const std::bad_alloc&) {
    if (int64_t{size.width} * size.height < kLargeImage) throw;  // then it is not this image's fault
    throw DamageError(
        {fmt::format("an image of {} x {} pixels needs more memory than there is", size.width, size.height), "", ""});
  }
}

}  // namespace packhorse

#include "pack/prepare.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "image/decode.h"
#include "image/jpeg.h"

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
  thread_local DecodedImage whole, small;  // large, so their memory is kept for the next image
  decode_image(bytes, whole);
  const Size size{whole.width, whole.height};
  const Size target = edge > 0 ? shrunk_to_short_edge(size, edge) : size;
  if (target != size) resample(whole, target, small);
  bytes = encode_jpeg(target != size ? small : whole, preparation.quality);
}

}  // namespace packhorse

#include "image/webp.h"

#include <string>

#include <webp/decode.h>

#include "base/error.h"
#include "image/transparency.h"

namespace packhorse {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw DamageError({what, "", ""}); }

WebPBitstreamFeatures features_of(std::span<const std::byte> bytes) {
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) refuse("not a sound WebP (truncated)");
  if (status != VP8_STATUS_OK) refuse("not a sound WebP (damaged header)");
  if (features.has_animation != 0) refuse("an animated WebP; only those of one image can be read");
  if (too_large(features.width, features.height)) refuse(too_large_text(features.width, features.height));
  return features;
}

}  // namespace

Size read_webp_size(std::span<const std::byte> bytes) {
  const WebPBitstreamFeatures features = features_of(bytes);
  return {features.width, features.height};
}

void decode_webp(std::span<const std::byte> bytes, DecodedImage& dst) {
  const WebPBitstreamFeatures features = features_of(bytes);
  dst.width = features.width;
  dst.height = features.height;
  const bool transparent = features.has_alpha != 0;
  const size_t stride = size_t{transparent ? 4u : 3u} * static_cast<size_t>(dst.width);
  dst.pixels.resize(stride * static_cast<size_t>(dst.height));
  const auto decode = transparent ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), dst.pixels.data(), dst.pixels.size(),
             static_cast<int>(stride)) == nullptr)
    refuse("not a sound WebP (truncated or damaged)");
  if (transparent) blend_with_white(dst);
}

}  // namespace packhorse

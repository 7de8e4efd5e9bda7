#include <turbojpeg.h>

#include <memory>

#include "base/error.h"
#include "image/jpeg.h"

namespace packhorse {

std::vector<std::byte> encode_grey_jpeg(std::span<const uint8_t> pixels, int width, int height, int quality) {
  if (width <= 0 || height <= 0 || pixels.size() != static_cast<size_t>(width) * static_cast<size_t>(height)) {
    throw Error({"a grey picture of " + std::to_string(width) + "x" + std::to_string(height) + " pixels does not fit " +
                     std::to_string(pixels.size()) + " bytes",
                 "", ""});
  }
  const std::unique_ptr<void, decltype(&tjDestroy)> codec(tjInitCompress(), &tjDestroy);
  if (codec == nullptr) throw Error({std::string("libjpeg-turbo: ") + tjGetErrorStr2(nullptr), "", ""});
  unsigned char* out = nullptr;
  unsigned long bytes = 0;
  // The accurate transform at every quality: its bytes are the same on every processor.
  const int code = tjCompress2(codec.get(), pixels.data(), width, 0, height, TJPF_GRAY, &out, &bytes, TJSAMP_GRAY,
                               quality, TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, decltype(&tjFree)> owner(out, &tjFree);
  if (code != 0) throw Error({std::string("libjpeg-turbo: ") + tjGetErrorStr2(codec.get()), "", ""});
  const auto* first = reinterpret_cast<const std::byte*>(out);
  return {first, first + bytes};
}

}  // namespace packhorse

#include <array>

#include "ops/reference/backend.h"

namespace packhorse::reference {

Run bind_input(Context& /*context*/, const Site& site) {
  std::array<float, 3> mean{}, scale{};
  for (size_t c = 0; c < 3; ++c) {
    mean[c] = static_cast<float>(site.node().number("mean_" + std::to_string(c)));
    scale[c] = static_cast<float>(site.node().number("scale_" + std::to_string(c)));
  }
  return [=, dst = site.view("dst")](const StepCall& call) {
    const auto* pixels = call.pixels.as<const uint8_t>();
    const int64_t given = call.images * dst.shape.h * dst.shape.w;
    for (int64_t p = 0; p < dst.shape.pixels(); ++p)
      for (size_t c = 0; c < 3; ++c) {
        const auto place = static_cast<size_t>(p) * 3 + c;
        at(dst, p)[c] = p < given ? (static_cast<float>(pixels[place]) - mean[c]) * scale[c] : 0.0f;
      }
  };
}

}  // namespace packhorse::reference

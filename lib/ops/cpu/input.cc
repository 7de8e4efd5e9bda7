#include <array>
#include <memory>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

template <typename T>
using Table = std::array<std::array<T, 256>, 3>;

// A byte has only 256 values: a table holds the result for each one.
template <typename T>
Run lookup(const Context& context, const Site& site) {
  auto table = std::make_shared<Table<T>>();
  for (size_t c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(site.node().number("mean_" + std::to_string(c)));
    const auto scale = static_cast<float>(site.node().number("scale_" + std::to_string(c)));
    for (size_t value = 0; value < 256; ++value) (*table)[c][value] = T((static_cast<float>(value) - mean) * scale);
  }
  return [&context, dst = site.view("dst"), table](const StepCall& call) {
    const auto* pixels = call.pixels.as<const uint8_t>();
    const int64_t given = call.images * dst.shape.h * dst.shape.w;
    const int64_t line = dst.shape.w, lines = dst.shape.pixels() / line;
    context.each(lines, [&](int64_t y) {
      for (int64_t p = y * line; p < (y + 1) * line; ++p) {
        T* to = static_cast<T*>(dst.data) + p * dst.pixel_stride;
        for (size_t c = 0; c < 3; ++c)
          to[c] = p < given ? (*table)[c][pixels[static_cast<size_t>(p) * 3 + c]] : T(0.0f);
      }
    });
  };
}

}  // namespace

Run bind_input(Context& context, const Site& site) {
  return site.view("dst").dtype == Dtype::f32 ? lookup<float>(context, site) : lookup<Bf16>(context, site);
}

}  // namespace packhorse::cpu

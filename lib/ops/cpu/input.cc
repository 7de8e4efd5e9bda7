#include <array>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

// A byte has only 256 values: a table holds the result for each one.
class Lookup : public Input {
 public:
  Lookup(const Context& context, const InputTask& task) : context_(context), task_(task) {
    for (size_t c = 0; c < 3; ++c)
      for (size_t value = 0; value < 256; ++value) {
        full_[c][value] = (static_cast<float>(value) - task.mean[c]) * task.scale[c];
        half_[c][value] = Bf16(full_[c][value]);
      }
  }

  void run(std::span<const uint8_t> pixels) override {
    if (task_.dst.dtype == Dtype::f32)
      fill<float>(pixels, full_);
    else
      fill<Bf16>(pixels, half_);
  }

 private:
  template <typename T>
  using Table = std::array<std::array<T, 256>, 3>;

  template <typename T>
  void fill(std::span<const uint8_t> pixels, const Table<T>& table) const {
    const auto given = static_cast<int64_t>(pixels.size() / 3);
    const int64_t line = task_.dst.shape.w, lines = task_.dst.shape.pixels() / line;
    context_.each(lines, [&](int64_t y) {
      for (int64_t p = y * line; p < (y + 1) * line; ++p) {
        T* dst = static_cast<T*>(task_.dst.data) + p * task_.dst.pixel_stride;
        for (size_t c = 0; c < 3; ++c) dst[c] = p < given ? table[c][pixels[static_cast<size_t>(p) * 3 + c]] : T(0.0f);
      }
    });
  }

  const Context& context_;
  const InputTask task_;
  Table<float> full_{};
  Table<Bf16> half_{};
};

}  // namespace

std::unique_ptr<Input> make(Context& context, const InputTask& task) { return std::make_unique<Lookup>(context, task); }

}  // namespace packhorse::cpu

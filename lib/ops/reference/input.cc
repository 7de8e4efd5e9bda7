#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class SubtractMean : public Input {
 public:
  explicit SubtractMean(const InputTask& task) : task_(task) {}

  void run(std::span<const uint8_t> pixels) override {
    for (int64_t p = 0; p < task_.dst.shape.pixels(); ++p)
      for (size_t c = 0; c < 3; ++c) {
        const size_t place = static_cast<size_t>(p) * 3 + c;
        at(task_.dst, p)[c] =
            place < pixels.size() ? (static_cast<float>(pixels[place]) - task_.mean[c]) * task_.scale[c] : 0.0f;
      }
  }

 private:
  const InputTask task_;
};

}  // namespace

std::unique_ptr<Input> make(const InputTask& task) { return std::make_unique<SubtractMean>(task); }

}  // namespace packhorse::reference

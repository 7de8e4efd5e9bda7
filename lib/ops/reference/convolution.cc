#include <vector>

#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class Convolution : public Operation {
 public:
  explicit Convolution(const ConvolutionTask& task) : task_(task) {}

  void forward(Phase /*phase*/) override {
    const Shape in = task_.src.shape, out = task_.dst.shape;
    for (int64_t n = 0; n < out.n; ++n)
      for (int64_t y = 0; y < out.h; ++y)
        for (int64_t x = 0; x < out.w; ++x)
          for (int64_t o = 0; o < out.c; ++o) {
            double sum = 0;
            each_tap(y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
              const float* src = at(task_.src, n, sy, sx);
              const float* weight = task_.weight + o * in.c * taps() + tap;
              for (int64_t c = 0; c < in.c; ++c) sum += static_cast<double>(src[c]) * weight[c * taps()];
            });
            at(task_.dst, n, y, x)[o] = static_cast<float>(sum);
          }
  }

  void backward() override {
    backward_weights();
    if (task_.src_grad.view.data != nullptr) backward_data();
  }

 private:
  int64_t taps() const { return task_.kernel * task_.kernel; }

  // Calls visit(source row, source column, place in the kernel) for each tap of pixel (y, x) that is inside the image.
  template <typename Visit>
  void each_tap(int64_t y, int64_t x, const Visit& visit) const {
    for (int i = 0; i < task_.kernel; ++i)
      for (int j = 0; j < task_.kernel; ++j) {
        const int64_t sy = y * task_.stride + i - task_.pad, sx = x * task_.stride + j - task_.pad;
        if (sy >= 0 && sy < task_.src.shape.h && sx >= 0 && sx < task_.src.shape.w) visit(sy, sx, i * task_.kernel + j);
      }
  }

  template <typename Visit>
  void each_pixel(const Visit& visit) const {
    const Shape out = task_.dst.shape;
    for (int64_t n = 0; n < out.n; ++n)
      for (int64_t y = 0; y < out.h; ++y)
        for (int64_t x = 0; x < out.w; ++x) visit(n, y, x);
  }

  void backward_weights() {
    const int64_t inputs = task_.src.shape.c, outputs = task_.dst.shape.c;
    std::vector<double> sums(static_cast<size_t>(outputs * inputs * taps()), 0.0);
    each_pixel([&](int64_t n, int64_t y, int64_t x) {
      const float* dst_grad = at(task_.dst_grad, n, y, x);
      each_tap(y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
        const float* src = at(task_.src, n, sy, sx);
        for (int64_t o = 0; o < outputs; ++o)
          for (int64_t c = 0; c < inputs; ++c)
            sums[static_cast<size_t>((o * inputs + c) * taps() + tap)] += static_cast<double>(dst_grad[o]) * src[c];
      });
    });
    for (size_t i = 0; i < sums.size(); ++i) task_.weight_grad[i] = static_cast<float>(sums[i]);
  }

  void backward_data() {
    const int64_t inputs = task_.src.shape.c, outputs = task_.dst.shape.c;
    std::vector<double> sums(static_cast<size_t>(task_.src.shape.count()), 0.0);
    each_pixel([&](int64_t n, int64_t y, int64_t x) {
      const float* dst_grad = at(task_.dst_grad, n, y, x);
      each_tap(y, x, [&](int64_t sy, int64_t sx, int64_t tap) {
        double* sum = &sums[static_cast<size_t>(((n * task_.src.shape.h + sy) * task_.src.shape.w + sx) * inputs)];
        for (int64_t o = 0; o < outputs; ++o) {
          const float* weight = task_.weight + o * inputs * taps() + tap;
          for (int64_t c = 0; c < inputs; ++c) sum[c] += static_cast<double>(dst_grad[o]) * weight[c * taps()];
        }
      });
    });
    begin(task_.src_grad);
    for (int64_t p = 0; p < task_.src.shape.pixels(); ++p)
      for (int64_t c = 0; c < inputs; ++c)
        at(task_.src_grad.view, p)[c] += static_cast<float>(sums[static_cast<size_t>(p * inputs + c)]);
  }

  const ConvolutionTask task_;
};

}  // namespace

std::unique_ptr<Operation> make(const ConvolutionTask& task) { return std::make_unique<Convolution>(task); }

}  // namespace packhorse::reference

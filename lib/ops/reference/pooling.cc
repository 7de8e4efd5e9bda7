#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class Pool : public Operation {
 public:
  explicit Pool(const PoolTask& task) : task_(task) {}

  void forward(Phase /*phase*/) override {
    each([&](int64_t n, int64_t y, int64_t x, int64_t c) {
      double sum = 0;
      float greatest = 0;
      int argmax = -1;
      each_tap(y, x, [&](int64_t sy, int64_t sx, int tap) {
        const float value = at(task_.src, n, sy, sx)[c];
        sum += value;
        if (argmax >= 0 && !(value > greatest)) return;
        greatest = value;
        argmax = tap;
      });
      at(task_.dst, n, y, x)[c] = task_.maximum ? greatest : static_cast<float>(sum / (task_.kernel * task_.kernel));
      if (task_.argmax != nullptr) task_.argmax[place(n, y, x, c)] = static_cast<uint8_t>(argmax);
    });
  }

  void backward() override {
    begin(task_.src_grad);
    each([&](int64_t n, int64_t y, int64_t x, int64_t c) {
      const float gradient = at(task_.dst_grad, n, y, x)[c];
      each_tap(y, x, [&](int64_t sy, int64_t sx, int tap) {
        float& dst = at(task_.src_grad.view, n, sy, sx)[c];
        if (!task_.maximum) dst += gradient / static_cast<float>(task_.kernel * task_.kernel);
        if (task_.maximum && task_.argmax[place(n, y, x, c)] == tap) dst += gradient;
      });
    });
  }

 private:
  int64_t place(int64_t n, int64_t y, int64_t x, int64_t c) const {
    const Shape& out = task_.dst.shape;
    return ((n * out.h + y) * out.w + x) * out.c + c;
  }

  template <typename Visit>
  void each(const Visit& visit) const {
    const Shape& out = task_.dst.shape;
    for (int64_t n = 0; n < out.n; ++n)
      for (int64_t y = 0; y < out.h; ++y)
        for (int64_t x = 0; x < out.w; ++x)
          for (int64_t c = 0; c < out.c; ++c) visit(n, y, x, c);
  }

  template <typename Visit>
  void each_tap(int64_t y, int64_t x, const Visit& visit) const {
    for (int i = 0; i < task_.kernel; ++i)
      for (int j = 0; j < task_.kernel; ++j) {
        const int64_t sy = y * task_.stride + i - task_.pad, sx = x * task_.stride + j - task_.pad;
        if (sy >= 0 && sy < task_.src.shape.h && sx >= 0 && sx < task_.src.shape.w) visit(sy, sx, i * task_.kernel + j);
      }
  }

  const PoolTask task_;
};

class GlobalPool : public Operation {
 public:
  explicit GlobalPool(const GlobalPoolTask& task) : task_(task), area_(task.src.shape.h * task.src.shape.w) {}

  void forward(Phase /*phase*/) override {
    const Shape& in = task_.src.shape;
    for (int64_t n = 0; n < in.n; ++n)
      for (int64_t c = 0; c < in.c; ++c) {
        double sum = 0;
        for (int64_t p = 0; p < area_; ++p) sum += at(task_.src, n * area_ + p)[c];
        task_.dst[n * in.c + c] = static_cast<float>(sum / static_cast<double>(area_));
      }
  }

  void backward() override {
    begin(task_.src_grad);
    for (int64_t p = 0; p < task_.src.shape.pixels(); ++p)
      for (int64_t c = 0; c < task_.src.shape.c; ++c)
        at(task_.src_grad.view, p)[c] += task_.dst_grad[p / area_ * task_.src.shape.c + c] / static_cast<float>(area_);
  }

 private:
  const GlobalPoolTask task_;
  const int64_t area_;
};

}  // namespace

std::unique_ptr<Operation> make(const PoolTask& task) { return std::make_unique<Pool>(task); }
std::unique_ptr<Operation> make(const GlobalPoolTask& task) { return std::make_unique<GlobalPool>(task); }

}  // namespace packhorse::reference

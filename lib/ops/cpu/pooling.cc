#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

class Pool : public Operation {
 public:
  Pool(const Context& context, const PoolTask& task) : context_(context), task_(task) {
    const Shape &src = task.src.shape, &dst = task.dst.shape;
    shape_ = {.src_h = src.h,
              .src_w = src.w,
              .dst_h = dst.h,
              .dst_w = dst.w,
              .channels = src.c,
              .kernel = task.kernel,
              .stride = task.stride,
              .pad = task.pad};
  }

  void forward(Phase /*phase*/) override {
    context_.each(task_.dst.shape.n * shape_.dst_h, [&](int64_t line) {
      const int64_t n = line / shape_.dst_h, y = line % shape_.dst_h;
      const Rows src = rows_from(task_.src, n * src_area()), dst = rows_from(task_.dst, n * dst_area());
      if (task_.maximum)
        max_pool_row(task_.src.dtype, shape_, y, src, dst, argmax(n));
      else
        average_pool_row(task_.src.dtype, shape_, y, src, dst);
    });
  }

  void backward() override {
    context_.each(task_.src.shape.n * shape_.src_h, [&](int64_t line) {
      const int64_t n = line / shape_.src_h, y = line % shape_.src_h;
      const Rows src = rows_from(task_.src_grad.view, n * src_area()), dst = rows_from(task_.dst_grad, n * dst_area());
      if (task_.maximum)
        max_pool_gradient_row(task_.src.dtype, shape_, y, dst, argmax(n), src, task_.src_grad.accumulate);
      else
        average_pool_gradient_row(task_.src.dtype, shape_, y, dst, src, task_.src_grad.accumulate);
    });
  }

 private:
  int64_t src_area() const { return shape_.src_h * shape_.src_w; }
  int64_t dst_area() const { return shape_.dst_h * shape_.dst_w; }
  uint8_t* argmax(int64_t n) const {
    return task_.argmax == nullptr ? nullptr : task_.argmax + n * dst_area() * shape_.channels;
  }

  const Context& context_;
  const PoolTask task_;
  PoolShape shape_;
};

class GlobalPool : public Operation {
 public:
  GlobalPool(const Context& context, const GlobalPoolTask& task)
      : context_(context), task_(task), area_(task.src.shape.h * task.src.shape.w) {}

  void forward(Phase /*phase*/) override {
    context_.each(task_.src.shape.n, [&](int64_t n) {
      mean_of_pixels(task_.src.dtype, rows_from(task_.src, n * area_), area_, channels(), task_.dst + n * channels());
    });
  }

  void backward() override {
    const View& gradient = task_.src_grad.view;
    context_.each(gradient.shape.n, [&](int64_t n) {
      spread_to_pixels(gradient.dtype, task_.dst_grad + n * channels(), 1.0f / static_cast<float>(area_),
                       rows_from(gradient, n * area_), area_, channels(), task_.src_grad.accumulate);
    });
  }

 private:
  int64_t channels() const { return task_.src.shape.c; }

  const Context& context_;
  const GlobalPoolTask task_;
  const int64_t area_;
};

}  // namespace

std::unique_ptr<Operation> make(Context& context, const PoolTask& task) {
  return std::make_unique<Pool>(context, task);
}
std::unique_ptr<Operation> make(Context& context, const GlobalPoolTask& task) {
  return std::make_unique<GlobalPool>(context, task);
}

}  // namespace packhorse::cpu

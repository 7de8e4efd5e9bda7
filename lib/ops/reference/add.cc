#include <algorithm>

#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class Add : public Operation {
 public:
  explicit Add(const AddTask& task) : task_(task) {}

  void forward(Phase /*phase*/) override {
    each([&](int64_t p, int64_t c) {
      const float sum = at(task_.a, p)[c] + at(task_.b, p)[c];
      at(task_.dst, p)[c] = task_.relu ? std::max(sum, 0.0f) : sum;
    });
  }

  void backward() override {
    for (const Gradient& gradient : {task_.a_grad, task_.b_grad}) {
      if (gradient.view.data == nullptr) continue;
      begin(gradient);
      each([&](int64_t p, int64_t c) {
        if (!task_.relu || at(task_.dst, p)[c] > 0) at(gradient.view, p)[c] += at(task_.dst_grad, p)[c];
      });
    }
  }

 private:
  template <typename Visit>
  void each(const Visit& visit) const {
    for (int64_t p = 0; p < task_.dst.shape.pixels(); ++p)
      for (int64_t c = 0; c < task_.dst.shape.c; ++c) visit(p, c);
  }

  const AddTask task_;
};

}  // namespace

std::unique_ptr<Operation> make(const AddTask& task) { return std::make_unique<Add>(task); }

}  // namespace packhorse::reference

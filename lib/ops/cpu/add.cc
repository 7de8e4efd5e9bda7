#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

class Add : public Operation {
 public:
  Add(const Context& context, const AddTask& task)
      : context_(context), task_(task), chunks_(task.dst.shape.pixels(), task.dst.shape.c) {}

  void forward(Phase /*phase*/) override {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      const int64_t first = chunks_.first(chunk);
      add_rows(task_.dst.dtype, rows_from(task_.a, first), rows_from(task_.b, first), rows_from(task_.dst, first),
               chunks_.size(chunk), task_.dst.shape.c, task_.relu);
    });
  }

  void backward() override {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      const int64_t first = chunks_.first(chunk);
      const Rows value = task_.relu ? rows_from(task_.dst, first) : Rows{};
      for (const Gradient* gradient : {&task_.a_grad, &task_.b_grad})
        if (gradient->view.data != nullptr)
          masked_gradient(task_.dst.dtype, value, rows_from(task_.dst_grad, first), rows_from(gradient->view, first),
                          chunks_.size(chunk), task_.dst.shape.c, gradient->accumulate);
    });
  }

 private:
  const Context& context_;
  const AddTask task_;
  const Chunks chunks_;
};

}  // namespace

std::unique_ptr<Operation> make(Context& context, const AddTask& task) { return std::make_unique<Add>(context, task); }

}  // namespace packhorse::cpu

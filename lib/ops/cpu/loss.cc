#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

class CrossEntropy : public Loss {
 public:
  CrossEntropy(const Context& context, const LossTask& task)
      : context_(context), task_(task), results_(static_cast<size_t>(task.n)) {}

  BatchResult run(std::span<const int32_t> labels, float gradient_scale) override {
    for (const int32_t label : labels)
      if (label >= task_.classes)
        throw UsageError({"label " + std::to_string(label) + " is too large for a network with " +
                              std::to_string(task_.classes) + " classes",
                          "a batch", "use shards and a network with the same classes"});
    context_.each(task_.n, [&](int64_t n) {
      results_[static_cast<size_t>(n)] = one(n, labels[static_cast<size_t>(n)], gradient_scale);
    });
    BatchResult total;
    for (const BatchResult& result : results_) {
      total.loss_sum += result.loss_sum;
      total.counted += result.counted;
      total.top1 += result.top1;
      total.top5 += result.top5;
    }
    return total;
  }

 private:
  BatchResult one(int64_t n, int64_t label, float gradient_scale) const {
    const int64_t classes = task_.classes;
    const float* logits = task_.logits + n * classes;
    float* gradient = task_.logits_grad + n * classes;
    if (label < 0) {
      std::fill_n(gradient, classes, 0.0f);
      return {};
    }
    const float top = greatest(logits, classes);
    const double sum = exp_shifted(logits, top, gradient, classes);
    const double right = 1.0 - task_.label_smoothing, other = task_.label_smoothing / static_cast<double>(classes);
    double loss = std::log(sum) - right * (logits[label] - top);
    if (other > 0)
      loss -= other * (std::accumulate(logits, logits + classes, 0.0) - static_cast<double>(classes) * top);
    scale_offset(gradient, static_cast<float>(gradient_scale / sum), static_cast<float>(-gradient_scale * other),
                 classes);
    gradient[label] -= static_cast<float>(gradient_scale * right);
    const int64_t before = count_before(logits, label);
    const bool number = !std::isnan(logits[label]);
    return {.loss_sum = loss,
            .counted = 1,
            .top1 = number && before < 1 ? uint64_t{1} : 0,
            .top5 = number && before < 5 ? uint64_t{1} : 0};
  }

  int64_t count_before(const float* logits, int64_t label) const {
    const float own = logits[label];
    int64_t before = 0;
    for (int64_t k = 0; k < label; ++k) before += !(logits[k] < own);
    for (int64_t k = label + 1; k < task_.classes; ++k) before += !(logits[k] <= own);
    return before;
  }

  const Context& context_;
  const LossTask task_;
  std::vector<BatchResult> results_;  // (N)
};

}  // namespace

std::unique_ptr<Loss> make(Context& context, const LossTask& task) {
  return std::make_unique<CrossEntropy>(context, task);
}

}  // namespace packhorse::cpu

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class CrossEntropy : public Loss {
 public:
  explicit CrossEntropy(const LossTask& task) : task_(task) {}

  BatchResult run(std::span<const int32_t> labels, float gradient_scale) override {
    for (const int32_t label : labels)
      if (label >= task_.classes)
        throw UsageError({"label " + std::to_string(label) + " is too large for a network with " +
                              std::to_string(task_.classes) + " classes",
                          "a batch", "use shards and a network with the same classes"});
    BatchResult result;
    for (int64_t n = 0; n < task_.n; ++n) {
      float* gradient = task_.logits_grad + n * task_.classes;
      if (labels[static_cast<size_t>(n)] < 0)
        std::fill_n(gradient, task_.classes, 0.0f);
      else
        one(task_.logits + n * task_.classes, gradient, labels[static_cast<size_t>(n)], gradient_scale, result);
    }
    return result;
  }

 private:
  void one(const float* logits, float* gradient, int64_t label, float gradient_scale, BatchResult& result) const {
    const double greatest = *std::max_element(logits, logits + task_.classes);
    double sum = 0, all = 0;
    for (int64_t k = 0; k < task_.classes; ++k) {
      sum += std::exp(logits[k] - greatest);
      all += logits[k] - greatest;
    }
    const double other = static_cast<double>(task_.label_smoothing) / static_cast<double>(task_.classes);
    const double right = 1 - static_cast<double>(task_.label_smoothing);
    result.loss_sum += std::log(sum) - right * (logits[label] - greatest) - other * all;
    result.counted += 1;
    int64_t before = 0;
    for (int64_t k = 0; k < task_.classes; ++k) {
      if (!(logits[k] < logits[label]) && (k < label || logits[k] != logits[label])) before += k != label;
      const double target = other + (k == label ? right : 0.0);
      gradient[k] = static_cast<float>(gradient_scale * (std::exp(logits[k] - greatest) / sum - target));
    }
    if (std::isnan(logits[label])) return;
    result.top1 += before < 1;
    result.top5 += before < 5;
  }

  const LossTask task_;
};

}  // namespace

std::unique_ptr<Loss> make(const LossTask& task) { return std::make_unique<CrossEntropy>(task); }

}  // namespace packhorse::reference

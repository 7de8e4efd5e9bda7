#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

class BatchNorm : public Operation {
 public:
  BatchNorm(Context& context, const BatchNormTask& task)
      : context_(context),
        task_(task),
        chunks_(task.src.shape.pixels(), task.src.shape.c),
        a_(static_cast<size_t>(task.src.shape.c)),
        b_(a_.size()),
        k_(a_.size()),
        l_(a_.size()) {
    if (context.training())
      context.want_scratch(2 * sizeof(float) * static_cast<size_t>(chunks_.count() * channels()),
                           [this](std::byte* scratch) { partial_ = reinterpret_cast<float*>(scratch); });
  }

  void forward(Phase phase) override {
    if (phase == Phase::training) {
      take_statistics();
      coefficients(task_.batch_mean, task_.batch_variance);
    } else {
      coefficients(task_.running_mean, task_.running_variance);
    }
    apply();
  }

  void recompute() override { apply(); }

  void backward() override {
    take_sums();
    if (task_.src_grad.view.data != nullptr) write_gradient();
  }

 private:
  int64_t channels() const { return task_.src.shape.c; }
  float* first_partial(int64_t chunk) { return partial_ + 2 * chunk * channels(); }
  float* second_partial(int64_t chunk) { return first_partial(chunk) + channels(); }

  void take_statistics() {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      channel_moments(task_.src.dtype, rows_from(task_.src, chunks_.first(chunk)), chunks_.size(chunk), channels(),
                      first_partial(chunk), second_partial(chunk));
    });
    const auto count = static_cast<double>(task_.src.shape.pixels());
    for (int64_t c = 0; c < channels(); ++c) {
      double sum = 0, squares = 0;
      for (int64_t chunk = 0; chunk < chunks_.count(); ++chunk)
        sum += static_cast<double>(first_partial(chunk)[c]) * static_cast<double>(chunks_.size(chunk));
      const double mean = sum / count;
      for (int64_t chunk = 0; chunk < chunks_.count(); ++chunk) {
        const double difference = first_partial(chunk)[c] - mean;
        squares += second_partial(chunk)[c] + difference * difference * static_cast<double>(chunks_.size(chunk));
      }
      task_.batch_mean[c] = static_cast<float>(mean);
      task_.batch_variance[c] = static_cast<float>(std::max(squares / count, 0.0));
    }
  }

  // Folds batch norm into one multiply-add: scale * (src - mean) / root + shift = src * a + b.
  void coefficients(const float* mean, const float* variance) {
    for (size_t c = 0; c < a_.size(); ++c) {
      a_[c] = task_.scale[c] / std::sqrt(variance[c] + kBatchNormEpsilon);
      b_[c] = task_.shift[c] - mean[c] * a_[c];
    }
  }

  void apply() {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      const int64_t first = chunks_.first(chunk);
      scale_shift(task_.src.dtype, rows_from(task_.src, first), rows_from(task_.dst, first), chunks_.size(chunk),
                  channels(), a_.data(), b_.data(), task_.relu);
    });
  }

  void take_sums() {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      const int64_t first = chunks_.first(chunk);
      gradient_sums(task_.src.dtype, rows_from(task_.src, first), rows_from(task_.dst_grad, first), chunks_.size(chunk),
                    channels(), a_.data(), b_.data(), task_.batch_mean, task_.relu, first_partial(chunk),
                    second_partial(chunk));
    });
    const double share = 1.0 / static_cast<double>(task_.src.shape.pixels());
    for (int64_t c = 0; c < channels(); ++c) {
      double sum = 0, product = 0;
      for (int64_t chunk = 0; chunk < chunks_.count(); ++chunk) {
        sum += first_partial(chunk)[c];
        product += second_partial(chunk)[c];
      }
      const double inverse = 1.0 / std::sqrt(static_cast<double>(task_.batch_variance[c]) + kBatchNormEpsilon);
      const auto i = static_cast<size_t>(c);
      task_.shift_grad[c] = static_cast<float>(sum);
      task_.scale_grad[c] = static_cast<float>(product * inverse);
      k_[i] = static_cast<float>(-a_[i] * product * inverse * inverse * share);
      l_[i] = static_cast<float>(-a_[i] * sum * share);
    }
  }

  void write_gradient() {
    context_.each(chunks_.count(), [&](int64_t chunk) {
      const int64_t first = chunks_.first(chunk);
      normalised_gradient(task_.src.dtype, rows_from(task_.src, first), rows_from(task_.dst_grad, first),
                          rows_from(task_.src_grad.view, first), chunks_.size(chunk), channels(), a_.data(), b_.data(),
                          task_.batch_mean, k_.data(), l_.data(), task_.relu, task_.src_grad.accumulate);
    });
  }

  Context& context_;
  const BatchNormTask task_;
  const Chunks chunks_;
  std::vector<float> a_, b_, k_, l_;  // (C)
  float* partial_ = nullptr;          // (chunks, 2, C)
};

}  // namespace

std::unique_ptr<Operation> make(Context& context, const BatchNormTask& task) {
  return std::make_unique<BatchNorm>(context, task);
}

}  // namespace packhorse::cpu

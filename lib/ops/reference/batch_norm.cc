#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class BatchNorm : public Operation {
 public:
  explicit BatchNorm(const BatchNormTask& task) : task_(task) {}

  void forward(Phase phase) override {
    if (phase == Phase::training) take_statistics();
    const float* mean = phase == Phase::training ? task_.batch_mean : task_.running_mean;
    const float* variance = phase == Phase::training ? task_.batch_variance : task_.running_variance;
    for (int64_t p = 0; p < pixels(); ++p)
      for (int64_t c = 0; c < channels(); ++c) {
        const double root = std::sqrt(static_cast<double>(variance[c]) + kBatchNormEpsilon);
        const double value =
            task_.scale[c] * ((at(task_.src, p)[c] - static_cast<double>(mean[c])) / root) + task_.shift[c];
        at(task_.dst, p)[c] = static_cast<float>(task_.relu ? std::max(value, 0.0) : value);
      }
  }

  void backward() override {
    for (int64_t c = 0; c < channels(); ++c) backward_channel(c);
  }

 private:
  int64_t pixels() const { return task_.src.shape.pixels(); }
  int64_t channels() const { return task_.src.shape.c; }

  void take_statistics() {
    const auto count = static_cast<double>(pixels());
    for (int64_t c = 0; c < channels(); ++c) {
      double sum = 0, squares = 0;
      for (int64_t p = 0; p < pixels(); ++p) sum += at(task_.src, p)[c];
      const double mean = sum / count;
      for (int64_t p = 0; p < pixels(); ++p) squares += (at(task_.src, p)[c] - mean) * (at(task_.src, p)[c] - mean);
      task_.batch_mean[c] = static_cast<float>(mean);
      task_.batch_variance[c] = static_cast<float>(squares / count);
    }
  }

  // The gradient of scale * x + shift with x = (src - mean) / root; mean and root depend on every src of the channel.
  // d/dsrc = scale / root * (g - average(g) - x * average(g * x)).
  void backward_channel(int64_t c) {
    const double mean = task_.batch_mean[c];
    const double root = std::sqrt(static_cast<double>(task_.batch_variance[c]) + kBatchNormEpsilon);
    const auto normal = [&](int64_t p) { return (at(task_.src, p)[c] - mean) / root; };
    const auto incoming = [&](int64_t p) {
      const bool passes = !task_.relu || task_.scale[c] * normal(p) + task_.shift[c] > 0;
      return passes ? static_cast<double>(at(task_.dst_grad, p)[c]) : 0.0;
    };
    double sum = 0, products = 0;
    for (int64_t p = 0; p < pixels(); ++p) {
      sum += incoming(p);
      products += incoming(p) * normal(p);
    }
    task_.shift_grad[c] = static_cast<float>(sum);
    task_.scale_grad[c] = static_cast<float>(products);
    if (task_.src_grad.view.data == nullptr) return;
    const auto count = static_cast<double>(pixels());
    for (int64_t p = 0; p < pixels(); ++p) {
      const double gradient = task_.scale[c] / root * (incoming(p) - sum / count - normal(p) * products / count);
      float& dst = at(task_.src_grad.view, p)[c];  // may be the memory of src
      dst = static_cast<float>(task_.src_grad.accumulate ? dst + gradient : gradient);
    }
  }

  const BatchNormTask task_;
};

}  // namespace

std::unique_ptr<Operation> make(const BatchNormTask& task) { return std::make_unique<BatchNorm>(task); }

}  // namespace packhorse::reference

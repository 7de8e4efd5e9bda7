#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

class FullyConnected : public Operation {
 public:
  explicit FullyConnected(const FullyConnectedTask& task) : task_(task) {}

  void forward(Phase /*phase*/) override {
    for (int64_t n = 0; n < task_.n; ++n)
      for (int64_t o = 0; o < task_.o; ++o) {
        double sum = task_.bias[o];
        for (int64_t c = 0; c < task_.c; ++c)
          sum += static_cast<double>(task_.src[n * task_.c + c]) * task_.weight[o * task_.c + c];
        task_.dst[n * task_.o + o] = static_cast<float>(sum);
      }
  }

  void backward() override {
    for (int64_t o = 0; o < task_.o; ++o) {
      double bias = 0;
      for (int64_t n = 0; n < task_.n; ++n) bias += task_.dst_grad[n * task_.o + o];
      task_.bias_grad[o] = static_cast<float>(bias);
      for (int64_t c = 0; c < task_.c; ++c) {
        double sum = 0;
        for (int64_t n = 0; n < task_.n; ++n)
          sum += static_cast<double>(task_.dst_grad[n * task_.o + o]) * task_.src[n * task_.c + c];
        task_.weight_grad[o * task_.c + c] = static_cast<float>(sum);
      }
    }
    for (int64_t n = 0; n < task_.n; ++n)
      for (int64_t c = 0; c < task_.c; ++c) {
        double sum = 0;
        for (int64_t o = 0; o < task_.o; ++o)
          sum += static_cast<double>(task_.dst_grad[n * task_.o + o]) * task_.weight[o * task_.c + c];
        task_.src_grad[n * task_.c + c] = static_cast<float>(sum);
      }
  }

 private:
  const FullyConnectedTask task_;
};

}  // namespace

std::unique_ptr<Operation> make(const FullyConnectedTask& task) { return std::make_unique<FullyConnected>(task); }

}  // namespace packhorse::reference

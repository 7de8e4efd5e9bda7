#include <algorithm>
#include <cmath>

#include "ops/reference/backend.h"

namespace packhorse::reference {

namespace {

/// The softmax of one image's logits, with the target that its label and the smoothing give.
class Softmax {
 public:
  Softmax(const float* logits, int64_t classes, double smoothing)
      : logits_(logits),
        classes_(classes),
        other_(smoothing / static_cast<double>(classes)),
        right_(1 - smoothing),
        greatest_(*std::max_element(logits, logits + classes)) {
    for (int64_t k = 0; k < classes; ++k) sum_ += std::exp(logits[k] - greatest_);
  }
  double target(int64_t k, int64_t label) const { return other_ + (k == label ? right_ : 0.0); }
  double probability(int64_t k) const { return std::exp(logits_[k] - greatest_) / sum_; }
  double loss(int64_t label) const {
    double all = 0;
    for (int64_t k = 0; k < classes_; ++k) all += logits_[k] - greatest_;
    return std::log(sum_) - right_ * (logits_[label] - greatest_) - other_ * all;
  }
  int64_t logits_before(int64_t label) const {
    int64_t before = 0;
    for (int64_t k = 0; k < classes_; ++k)
      if (!(logits_[k] < logits_[label]) && (k < label || logits_[k] != logits_[label])) before += k != label;
    return before;
  }

 private:
  const float* logits_;
  int64_t classes_;
  double other_, right_, greatest_, sum_ = 0;
};

}  // namespace

Run bind_loss(Context& /*context*/, const Site& site) {
  return [logits = site.view("logits"), result = site.array<float>("result"),
          smoothing = site.node().number("smoothing")](const StepCall& call) {
    double loss = 0;
    int64_t counted = 0, top1 = 0, top5 = 0;
    for (int64_t n = 0; n < logits.shape.n; ++n) {
      const int64_t label = call.labels.as<const int32_t>()[n];
      if (label < 0) continue;
      const Softmax softmax(at(logits, n), logits.shape.c, smoothing);
      loss += softmax.loss(label);
      ++counted;
      if (std::isnan(at(logits, n)[label])) continue;
      top1 += softmax.logits_before(label) < 1;
      top5 += softmax.logits_before(label) < 5;
    }
    result[kWordLoss] = static_cast<float>(loss);
    result[kWordCounted] = static_cast<float>(counted);
    result[kWordTop1] = static_cast<float>(top1);
    result[kWordTop5] = static_cast<float>(top5);
  };
}

Run bind_loss_gradient(Context& /*context*/, const Site& site) {
  return [logits = site.view("logits"), gradient = Gradient(site, "logits_grad"),
          scale = site.array<float>("loss_scale"), smoothing = site.node().number("smoothing")](const StepCall& call) {
    const View& dst = gradient.begin();
    const float factor = call.gradient_scale * (scale == nullptr ? 1.0f : scale[kLossScaleFactor]);
    for (int64_t n = 0; n < logits.shape.n; ++n) {
      const int64_t label = call.labels.as<const int32_t>()[n];
      if (label < 0) continue;
      const Softmax softmax(at(logits, n), logits.shape.c, smoothing);
      for (int64_t k = 0; k < logits.shape.c; ++k)
        at(dst, n)[k] += static_cast<float>(factor * (softmax.probability(k) - softmax.target(k, label)));
    }
  };
}

}  // namespace packhorse::reference

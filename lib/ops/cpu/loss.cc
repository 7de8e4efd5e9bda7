#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"

namespace packhorse::cpu {

namespace {

struct ImageResult {
  double loss = 0;
  int64_t counted = 0, top1 = 0, top5 = 0;
};

int64_t count_before(const float* logits, int64_t classes, int64_t label) {
  const float own = logits[label];
  int64_t before = 0;
  for (int64_t k = 0; k < label; ++k) before += !(logits[k] < own);
  for (int64_t k = label + 1; k < classes; ++k) before += !(logits[k] <= own);
  return before;
}

/// Loss and gradient of a batch in one pass: the exponentials of an image's logits are both.
class CrossEntropy {
 public:
  /// `gradient`: (N, classes); the loss alone takes it from its workspace.
  CrossEntropy(const Context& context, const Site& site, float* gradient, ImageResult* results, float* result)
      : context_(context),
        logits_(site.array<float>("logits")),
        gradient_(gradient),
        results_(results),
        result_(result),
        scale_(site.array<float>("loss_scale")),
        images_(site.view("logits").shape.n),
        classes_(site.count("logits")),
        smoothing_(static_cast<float>(site.node().number("smoothing"))) {}

  void operator()(const StepCall& call) const {
    const auto* labels = call.labels.as<const int32_t>();
    const float factor = call.gradient_scale * (scale_ == nullptr ? 1.0f : scale_[kLossScaleFactor]);
    context_.each(images_, [&](int64_t n) { results_[n] = one(n, labels[n], factor); });
    ImageResult total;
    for (int64_t n = 0; n < images_; ++n) {
      total.loss += results_[n].loss;
      total.counted += results_[n].counted;
      total.top1 += results_[n].top1;
      total.top5 += results_[n].top5;
    }
    if (result_ == nullptr) return;
    result_[kWordLoss] = static_cast<float>(total.loss);
    result_[kWordCounted] = static_cast<float>(total.counted);
    result_[kWordTop1] = static_cast<float>(total.top1);
    result_[kWordTop5] = static_cast<float>(total.top5);
  }

 private:
  ImageResult one(int64_t n, int64_t label, float gradient_scale) const {
    const float* logits = logits_ + n * classes_;
    float* gradient = gradient_ + n * classes_;
    if (label < 0) {
      std::fill_n(gradient, classes_, 0.0f);
      return {};
    }
    const float top = greatest(logits, classes_);
    const double sum = exp_shifted(logits, top, gradient, classes_);
    const double right = 1.0 - smoothing_, other = smoothing_ / static_cast<double>(classes_);
    double loss = std::log(sum) - right * (logits[label] - top);
    if (other > 0)
      loss -= other * (std::accumulate(logits, logits + classes_, 0.0) - static_cast<double>(classes_) * top);
    scale_offset(gradient, static_cast<float>(gradient_scale / sum), static_cast<float>(-gradient_scale * other),
                 classes_);
    gradient[label] -= static_cast<float>(gradient_scale * right);
    const int64_t before = count_before(logits, classes_, label);
    const bool number = !std::isnan(logits[label]);
    return {loss, 1, number && before < 1 ? 1 : 0, number && before < 5 ? 1 : 0};
  }

  const Context& context_;
  const float* logits_;
  float* gradient_;
  ImageResult* results_;  // (N)
  float* result_;
  const float* scale_;  // null without loss scaling
  int64_t images_, classes_;
  float smoothing_;
};

}  // namespace

uint64_t loss_workspace(Context& /*context*/, const Program& program, const Node& node) {
  const Shape logits = program.shape(node.at("logits"));
  const auto results = sizeof(ImageResult) * static_cast<uint64_t>(logits.n);
  return node.find("logits_grad") != nullptr ? results
                                             : results + sizeof(float) * static_cast<uint64_t>(logits.count());
}

Run bind_loss(Context& context, const Site& site) {
  auto* results = site.array<ImageResult>("workspace");
  auto* scratch = reinterpret_cast<float*>(results + site.view("logits").shape.n);
  return CrossEntropy(context, site, scratch, results, site.array<float>("result"));
}

Run bind_loss_gradient(Context& context, const Site& site) {
  return CrossEntropy(context, site, site.array<float>("logits_grad"), site.array<ImageResult>("workspace"), nullptr);
}

Run bind_loss_with_gradient(Context& context, const Site& site) {
  return CrossEntropy(context, site, site.array<float>("logits_grad"), site.array<ImageResult>("workspace"),
                      site.array<float>("result"));
}

}  // namespace packhorse::cpu

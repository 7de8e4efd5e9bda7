// Softmax cross entropy and top-k: a block has an image.
#pragma once

#include "ops/cuda/words.cuh"

namespace packhorse::cuda {

constexpr int kLossThreads = 256;

struct ImageResult {
  double loss;
  int counted, top1, top5;
};

struct LossArrays {
  const float* logits;  ///< (images, classes)
  float* gradient;      ///< the same; null: not asked for
  const float* addend;  ///< of the gradient; may be null
  ImageResult* results;
  const float* loss_scale;  ///< may be null
  int64_t classes;
  double smoothing;
};

__global__ void __launch_bounds__(kLossThreads) softmax_loss(const DeviceCall* call, LossArrays of) {
  __shared__ double sums[kLossThreads];
  __shared__ float peaks[kLossThreads];
  __shared__ int counts[kLossThreads];
  const int64_t n = blockIdx.x, label = call->labels[n];
  const float* const logits = of.logits + n * of.classes;
  float* const gradient = of.gradient == nullptr ? nullptr : of.gradient + n * of.classes;
  const float* const addend = of.addend == nullptr ? nullptr : of.addend + n * of.classes;
  if (label < 0) {
    if (gradient != nullptr)
      for (int64_t k = threadIdx.x; k < of.classes; k += kLossThreads) gradient[k] = addend == nullptr ? 0 : addend[k];
    if (threadIdx.x == 0) of.results[n] = {};
    return;
  }
  const float own = logits[label];
  float peak = logits[0];
  int before = 0;
  double all = 0;
  for (int64_t k = threadIdx.x; k < of.classes; k += kLossThreads) {
    const float x = logits[k];
    peak = x > peak ? x : peak;
    before += k < label ? !(x < own) : k > label && !(x <= own);
    all += x;
  }
  peak = joined<kLossThreads>(peaks, peak, [](float a, float b) { return a > b ? a : b; });
  before = joined<kLossThreads>(counts, before, [](int a, int b) { return a + b; });
  const auto plus = [](double a, double b) { return a + b; };
  all = joined<kLossThreads>(sums, all, plus);
  double sum = 0;
  for (int64_t k = threadIdx.x; k < of.classes; k += kLossThreads) sum += expf(logits[k] - peak);
  sum = joined<kLossThreads>(sums, sum, plus);
  const double right = 1 - of.smoothing, other = of.smoothing / static_cast<double>(of.classes);
  if (threadIdx.x == 0) {
    ImageResult result{log(sum) - right * (own - peak), 1, 0, 0};
    if (other > 0) result.loss -= other * (all - static_cast<double>(of.classes) * peak);
    const bool number = own == own;
    result.top1 = number && before < 1;
    result.top5 = number && before < 5;
    of.results[n] = result;
  }
  if (gradient == nullptr) return;
  const float factor = call->gradient_scale * (of.loss_scale == nullptr ? 1.0f : of.loss_scale[0]);
  const auto share = static_cast<float>(1 / sum), rest = static_cast<float>(other);
  for (int64_t k = threadIdx.x; k < of.classes; k += kLossThreads) {
    const float target = rest + (k == label ? static_cast<float>(right) : 0.0f);
    const float value = factor * (expf(logits[k] - peak) * share - target);
    gradient[k] = addend == nullptr ? value : addend[k] + value;
  }
}

/// One block: the images' results, in their order, become the four words of the loss.
__global__ void __launch_bounds__(kLossThreads) sum_results(const ImageResult* results, int64_t images, float* words) {
  __shared__ double sums[kLossThreads];
  const auto plus = [](double a, double b) { return a + b; };
  double loss = 0, counted = 0, top1 = 0, top5 = 0;
  for (int64_t n = threadIdx.x; n < images; n += kLossThreads) {
    loss += results[n].loss;
    counted += results[n].counted;
    top1 += results[n].top1;
    top5 += results[n].top5;
  }
  loss = joined<kLossThreads>(sums, loss, plus);
  counted = joined<kLossThreads>(sums, counted, plus);
  top1 = joined<kLossThreads>(sums, top1, plus);
  top5 = joined<kLossThreads>(sums, top5, plus);
  if (threadIdx.x > 0) return;
  words[0] = static_cast<float>(loss);
  words[1] = static_cast<float>(counted);
  words[2] = static_cast<float>(top1);
  words[3] = static_cast<float>(top5);
}

}  // namespace packhorse::cuda

#include "infer/predict.h"

#include <algorithm>

#include "base/log.h"
#include "image/resample.h"
#include "metrics/top_k.h"

namespace packhorse {

Predictions predict(Inference& inference, const GivenImages& given, const ClassChoice& choice, int top_k, size_t batch,
                    int threads) {
  const std::span<const GivenImage> images = given.images();
  const auto classes = static_cast<size_t>(inference.info().classes);
  const FeedOptions feed = inference.feed({images.size(), batch, 1, 0}, inference.info().classes, threads);
  const auto side = static_cast<size_t>(feed.augment.size);
  std::vector<uint8_t> pixels(batch * side * side * 3);
  Predictions all;
  all.resampling = kResampling;
  for (size_t first = 0; first < images.size(); first += batch) {
    const auto some = images.subspan(first, std::min(batch, images.size() - first));
    const auto prepared = prepare_images(given, some, feed.augment, threads, pixels);
    const std::span<const float> logits = inference.executor().infer(pixels);
    const HostView features = inference.executor().features();  // its own copy, on a GPU
    const size_t width = features.size() / batch;
    for (size_t i = 0; i < some.size(); ++i) {
      Prediction prediction{some[i].name, prepared[i].width, prepared[i].height, prepared[i].problem, {}};
      const bool good = prediction.problem.empty();
      if (good) {
        prediction.best = best_classes(logits.subspan(i * classes, classes), choice.set, static_cast<size_t>(top_k));
      } else {
        log_warning(prediction.problem + ": " + prediction.path.string());
        ++all.unread;
      }
      for (size_t c = 0; c < width; ++c) all.features.push_back(good ? features[i * width + c] : 0.0f);
      all.list.push_back(std::move(prediction));
    }
  }
  return all;
}

}  // namespace packhorse

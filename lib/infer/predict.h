// Runs single images through a trained network.
#pragma once

#include "infer/image_files.h"
#include "infer/inference.h"
#include "results/predictions.h"

namespace packhorse {

/// Predicts the images in batches of `batch`, the size that `inference` was constructed with; `threads` threads decode.
/// An image that cannot be read is reported in a warning and counted; the other images are not affected.
Predictions predict(Inference& inference, const GivenImages& given, const ClassChoice& choice, int top_k, size_t batch,
                    int threads);

}  // namespace packhorse

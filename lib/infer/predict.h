// Runs single images through a trained network.
#pragma once

#include <filesystem>
#include <span>

#include "infer/inference.h"
#include "results/predictions.h"

namespace packhorse {

/// Looks at the images in batches of the size that `inference` was made for, with `threads` threads that decode. An
/// image that cannot be read is named in a warning and counted, and the others go on.
Predictions predict(Inference& inference, std::span<const std::filesystem::path> paths, const ClassChoice& choice,
                    int top_k, size_t batch, int threads);

}  // namespace packhorse

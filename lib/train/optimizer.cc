#include "train/optimizer.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr size_t kPieceLength = size_t{1} << 14;

double update(float* w, const float* g, float* v, size_t count, float momentum, float decay, float rate) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < count; ++i) {
    squares += g[i] * g[i];
    v[i] = momentum * v[i] + (g[i] + decay * w[i]);
    w[i] -= rate * v[i];
  }
  return squares;
}

}  // namespace

Optimizer::Optimizer(const Graph& graph, float momentum, float weight_decay, int threads)
    : momentum_(momentum), threads_(std::max(1, threads)), velocity_(graph.parameter_count, 0.0f) {
  for (const Parameter& parameter : graph.parameters) {
    for (size_t done = 0; done < parameter.count; done += kPieceLength) {
      pieces_.push_back({parameter.offset + done, std::min(kPieceLength, parameter.count - done),
                         parameter.decay ? weight_decay : 0.0f});
    }
  }
  squares_.resize(pieces_.size());
}

double Optimizer::step(std::span<float> parameters, std::span<const float> gradients, double rate) {
  if (parameters.size() != velocity_.size() || gradients.size() != velocity_.size())
    throw Error({"parameters, gradients and momentum differ in length", "the optimizer", ""});
  const auto count = static_cast<int64_t>(pieces_.size());
#pragma omp parallel for num_threads(threads_) schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    const Piece& piece = pieces_[static_cast<size_t>(i)];
    squares_[static_cast<size_t>(i)] =
        update(parameters.data() + piece.offset, gradients.data() + piece.offset, velocity_.data() + piece.offset,
               piece.count, momentum_, piece.decay, static_cast<float>(rate));
  }
  return std::accumulate(squares_.begin(), squares_.end(), 0.0);
}

}  // namespace packhorse

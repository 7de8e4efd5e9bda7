#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "step/optimizer.h"

namespace packhorse {
namespace {

constexpr size_t kPieceLength = size_t{1} << 14;

double update(float* w, const float* g, float* v, size_t count, float momentum, float decay, float learning_rate) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < count; ++i) {
    squares += g[i] * g[i];
    v[i] = momentum * v[i] + (g[i] + decay * w[i]);
    w[i] -= learning_rate * v[i];
  }
  return squares;
}

class Sgd : public Optimizer {
 public:
  Sgd(const Graph& graph, const OptimizerOptions& options)
      : momentum_(options.momentum), threads_(std::max(1, options.threads)), velocity_(graph.parameter_count, 0.0f) {
    for (const Parameter& parameter : graph.parameters) {
      for (size_t done = 0; done < parameter.count; done += kPieceLength) {
        pieces_.push_back({parameter.offset + done, std::min(kPieceLength, parameter.count - done),
                           parameter.decay ? options.weight_decay : 0.0f});
      }
    }
    squares_.resize(pieces_.size());
  }

  double step(std::span<float> parameters, std::span<const float> gradients, double learning_rate) override {
    if (parameters.size() != velocity_.size() || gradients.size() != velocity_.size()) {
      throw Error({"parameters, gradients and momentum differ in length", "the optimizer", ""});
    }
    const auto rate = static_cast<float>(learning_rate);
    const auto count = static_cast<int64_t>(pieces_.size());
#pragma omp parallel for num_threads(threads_) schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const Piece& piece = pieces_[static_cast<size_t>(i)];
      squares_[static_cast<size_t>(i)] =
          update(parameters.data() + piece.offset, gradients.data() + piece.offset, velocity_.data() + piece.offset,
                 piece.count, momentum_, piece.decay, rate);
    }
    return std::accumulate(squares_.begin(), squares_.end(), 0.0);
  }

  std::span<float> momentum() override { return velocity_; }

 private:
  /// A range of the flat arrays with the same decay, short enough to stay in cache.
  struct Piece {
    size_t offset = 0, count = 0;
    float decay = 0;
  };
  float momentum_;
  int threads_;
  std::vector<Piece> pieces_;
  std::vector<double> squares_;  // by piece
  std::vector<float> velocity_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const Graph& graph, const OptimizerOptions& options) {
  return std::make_unique<Sgd>(graph, options);
}

}  // namespace packhorse

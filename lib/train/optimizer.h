// Stochastic gradient descent with momentum, in PyTorch's convention (torch.optim.SGD, dampening 0, no Nesterov):
//     v = momentum * v + (g + decay * w)
//     w = w - rate * v
// so that a change of rate takes hold at once, and the decay is coupled: it passes through momentum and rate.
// Parameters with `decay` false (batch norm, biases) are not decayed.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "net/graph.h"

namespace packhorse {

class Optimizer {
 public:
  Optimizer(const Graph& graph, float momentum, float weight_decay, int threads);

  /// One update of all parameters. Returns the gradient's squared norm, summed in a fixed order whatever the number of
  /// threads.
  double step(std::span<float> parameters, std::span<const float> gradients, double rate);

  /// v, in the layout of the parameters: part of the training's state.
  std::span<float> momentum() { return velocity_; }

 private:
  /// A piece of the flat arrays with one decay, short enough to stay in cache.
  struct Piece {
    size_t offset = 0, count = 0;
    float decay = 0;
  };
  float momentum_;
  int threads_;
  std::vector<Piece> pieces_;
  std::vector<double> squares_;  ///< one a piece
  std::vector<float> velocity_;
};

}  // namespace packhorse

// The table of optimizers: one row in optimizer.cc and one file each (sgd.cc).
//
// To add an optimizer, write a class that implements Optimizer in a file of its own, declare its factory below, and add
// a row to the table. Parameters with `decay` false (batch norm, biases) are not decayed.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/graph.h"

namespace packhorse {

struct OptimizerOptions {
  float momentum = 0.9f, weight_decay = 1e-4f;
  int threads = 1;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Updates all parameters once. Returns the squared norm of the gradient, summed in the same order for any number of
  /// threads. Throws an Error if an array does not have the length of the graph's.
  virtual double step(std::span<float> parameters, std::span<const float> gradients, double learning_rate) = 0;
  /// The optimizer's state, in the layout of the parameters; a checkpoint holds it.
  virtual std::span<float> momentum() = 0;
};

/// Names for --opt.
std::vector<std::string> optimizer_names();

/// Throws a UsageError for an unknown name.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const Graph& graph, const OptimizerOptions& options);

/// Stochastic gradient descent with momentum, in PyTorch's convention (torch.optim.SGD, dampening 0, no Nesterov):
///     v = momentum * v + (g + decay * w)
///     w = w - learning_rate * v
/// A change of the learning rate therefore acts at once, and the decay is coupled: momentum and learning rate scale it.
std::unique_ptr<Optimizer> make_sgd(const Graph& graph, const OptimizerOptions& options);

}  // namespace packhorse

// A network as data: its layers, their inputs and its parameters. No memory, no kernels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/types.h"

namespace packhorse {

/// How a parameter is initialised.
enum class Init { he_normal, xavier_uniform, zeros, ones };

/// A trainable tensor, a range of one flat array of f32. Ranges are in forward order, so that the backward pass
/// completes the array from its end: gradients become ready in order of falling offset.
struct Parameter {
  std::string name;            ///< "3a/3x3/conv/weight"
  std::vector<int64_t> shape;  ///< (O, C, K, K), (O, C) or (C)
  size_t offset = 0, count = 0;
  Init init = Init::zeros;
  bool decay = false;  ///< weight decay applies (never on batch norm and biases)
};

/// A running mean or variance of a batch norm: a range of another flat array, which the optimizer never changes.
struct Statistic {
  std::string name;  ///< "3a/3x3/bn/mean", ".../variance"
  size_t offset = 0, count = 0;
  float start = 0;  ///< 0 for means, 1 for variances
};

enum class LayerKind {
  input,
  convolution,
  batch_norm,
  add,
  max_pool,
  average_pool,
  global_average_pool,
  concat,
  fully_connected
};

/// One layer. Shapes are of one image (n = 1).
struct Layer {
  std::string name;
  LayerKind kind = LayerKind::input;
  std::vector<int> inputs;  ///< numbers of earlier layers
  Shape out;
  int kernel = 1, stride = 1, pad = 0;
  bool ceil = false;             ///< pooling: output size rounded up
  bool relu = false;             ///< batch_norm, add: followed by ReLU
  int weight = -1, bias = -1;    ///< parameters (batch norm: scale gamma, shift beta)
  int mean = -1, variance = -1;  ///< statistics
};

struct Graph {
  std::string name;
  int64_t image_size = 0;  ///< pixels on a side of the input
  int64_t classes = 0;
  std::vector<Layer> layers;  ///< in order of computation; the last gives the logits
  std::vector<Parameter> parameters;
  std::vector<Statistic> statistics;
  size_t parameter_count = 0, statistic_count = 0;  ///< lengths of the flat arrays

  /// Multiply-adds of one forward pass over one image.
  int64_t macs() const;
};

/// The names that make_network() accepts.
std::vector<std::string> network_names();

/// Builds a network; throws a UsageError for an unknown name, an image size that it does not support, or no class.
Graph make_network(const std::string& name, int64_t image_size, int64_t classes);

/// The weights that training starts from: they depend only on graph and seed, not on the number of ranks.
void initialise(const Graph& graph, uint64_t seed, float* parameters, float* statistics);

}  // namespace packhorse

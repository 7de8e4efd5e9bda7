// Builds a graph layer by layer: computes shapes and lays out parameters.
//
// Layout: parameters are in forward order. Siblings (convolutions built together) have their weights next to each
// other, then their scales, then their shifts, so that an executor can run them as one wider convolution.
#pragma once

#include <string>
#include <vector>

#include "net/graph.h"

namespace packhorse {

/// A convolution, its batch norm and, normally, a ReLU.
struct ConvBn {
  std::string name;  ///< layers NAME/conv and NAME/bn
  int src = 0;
  int64_t out = 0;  ///< channels
  int kernel = 1, stride = 1, pad = 0;
  bool relu = true;
};

class GraphBuilder {
 public:
  GraphBuilder(std::string name, int64_t image_size, int64_t classes);

  /// Each returns the number of the layer that holds the result.
  int input();
  int conv_bn(const ConvBn& layer) { return siblings({layer}).front(); }
  std::vector<int> siblings(const std::vector<ConvBn>& layers);
  /// `kind` is max_pool or average_pool; averages divide by kernel² also at the borders.
  int pool(LayerKind kind, const std::string& name, int src, int kernel, int stride, int pad, bool ceil = false);
  int concat(const std::string& name, std::vector<int> inputs);
  int add_relu(const std::string& name, int a, int b);
  /// Global average pool, then one fully connected layer to the classes.
  int classifier(int src);

  Graph finish() { return std::move(graph_); }

 private:
  const Shape& shape(int layer) const { return graph_.layers[static_cast<size_t>(layer)].out; }
  int add_layer(Layer layer);
  int add_parameter(const std::string& name, std::vector<int64_t> shape, Init init, bool decay);
  int add_statistic(const std::string& name, int64_t channels, float start);

  Graph graph_;
};

}  // namespace packhorse

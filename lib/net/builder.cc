#include "net/builder.h"

#include <utility>

#include "base/error.h"

namespace packhorse {

namespace {

int64_t convolved(int64_t size, int kernel, int stride, int pad) { return (size + 2 * pad - kernel) / stride + 1; }

// If rounded up, the last window must still begin inside the image or its left padding.
int64_t pooled(int64_t size, int kernel, int stride, int pad, bool ceil) {
  if (!ceil) return convolved(size, kernel, stride, pad);
  const int64_t out = (size + 2 * pad - kernel + stride - 1) / stride + 1;
  return (out - 1) * stride >= size + pad ? out - 1 : out;
}

}  // namespace

GraphBuilder::GraphBuilder(std::string name, int64_t image_size, int64_t classes) {
  graph_.name = std::move(name);
  graph_.image_size = image_size;
  graph_.classes = classes;
}

int GraphBuilder::add_layer(Layer layer) {
  if (layer.out.h < 1 || layer.out.w < 1)
    throw UsageError({"images of " + std::to_string(graph_.image_size) + " pixels are too small for " + graph_.name +
                          ": no pixel is left at " + layer.name,
                      "image size", "use larger images or a network for small ones (inception-bn-small)"});
  graph_.layers.push_back(std::move(layer));
  return static_cast<int>(graph_.layers.size()) - 1;
}

int GraphBuilder::add_parameter(const std::string& name, std::vector<int64_t> shape, Init init, bool decay) {
  size_t count = 1;
  for (const int64_t side : shape) count *= static_cast<size_t>(side);
  graph_.parameters.push_back({.name = name,
                               .shape = std::move(shape),
                               .offset = graph_.parameter_count,
                               .count = count,
                               .init = init,
                               .decay = decay});
  graph_.parameter_count += count;
  return static_cast<int>(graph_.parameters.size()) - 1;
}

int GraphBuilder::add_statistic(const std::string& name, int64_t channels, float start) {
  const auto count = static_cast<size_t>(channels);
  graph_.statistics.push_back({.name = name, .offset = graph_.statistic_count, .count = count, .start = start});
  graph_.statistic_count += count;
  return static_cast<int>(graph_.statistics.size()) - 1;
}

int GraphBuilder::input() {
  return add_layer(
      {.name = "input", .kind = LayerKind::input, .inputs = {}, .out = {1, graph_.image_size, graph_.image_size, 3}});
}

std::vector<int> GraphBuilder::siblings(const std::vector<ConvBn>& layers) {
  std::vector<Layer> convs, norms;
  convs.reserve(layers.size());
  norms.reserve(layers.size());
  for (const ConvBn& layer : layers) {
    const Shape in = shape(layer.src);
    const Shape out{1, convolved(in.h, layer.kernel, layer.stride, layer.pad),
                    convolved(in.w, layer.kernel, layer.stride, layer.pad), layer.out};
    convs.push_back({.name = layer.name + "/conv",
                     .kind = LayerKind::convolution,
                     .inputs = {layer.src},
                     .out = out,
                     .kernel = layer.kernel,
                     .stride = layer.stride,
                     .pad = layer.pad});
    norms.push_back(
        {.name = layer.name + "/bn", .kind = LayerKind::batch_norm, .inputs = {}, .out = out, .relu = layer.relu});
    convs.back().weight = add_parameter(convs.back().name + "/weight", {layer.out, in.c, layer.kernel, layer.kernel},
                                        Init::he_normal, true);
  }
  for (Layer& norm : norms) norm.weight = add_parameter(norm.name + "/scale", {norm.out.c}, Init::ones, false);
  for (Layer& norm : norms) norm.bias = add_parameter(norm.name + "/shift", {norm.out.c}, Init::zeros, false);
  for (Layer& norm : norms) norm.mean = add_statistic(norm.name + "/mean", norm.out.c, 0);
  for (Layer& norm : norms) norm.variance = add_statistic(norm.name + "/variance", norm.out.c, 1);
  std::vector<int> results;
  results.reserve(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    norms[i].inputs = {add_layer(std::move(convs[i]))};
    results.push_back(add_layer(std::move(norms[i])));
  }
  return results;
}

int GraphBuilder::pool(LayerKind kind, const std::string& name, int src, int kernel, int stride, int pad, bool ceil) {
  const Shape in = shape(src);
  return add_layer({.name = name,
                    .kind = kind,
                    .inputs = {src},
                    .out = {1, pooled(in.h, kernel, stride, pad, ceil), pooled(in.w, kernel, stride, pad, ceil), in.c},
                    .kernel = kernel,
                    .stride = stride,
                    .pad = pad,
                    .ceil = ceil});
}

int GraphBuilder::concat(const std::string& name, std::vector<int> inputs) {
  Shape out = shape(inputs.front());
  out.c = 0;
  for (const int input : inputs) {
    if (shape(input).h != out.h || shape(input).w != out.w)
      throw UsageError({"the branches of " + name + " have different output sizes for images of " +
                            std::to_string(graph_.image_size) + " pixels",
                        "image size",
                        "use an image size that halves evenly (a multiple of 32, or of 4 for inception-bn-small)"});
    out.c += shape(input).c;
  }
  return add_layer({.name = name, .kind = LayerKind::concat, .inputs = std::move(inputs), .out = out});
}

int GraphBuilder::add_relu(const std::string& name, int a, int b) {
  return add_layer({.name = name, .kind = LayerKind::add, .inputs = {a, b}, .out = shape(a), .relu = true});
}

int GraphBuilder::classifier(int src) {
  const int64_t channels = shape(src).c, classes = graph_.classes;
  const int pooled =
      add_layer({.name = "pool", .kind = LayerKind::global_average_pool, .inputs = {src}, .out = {1, 1, 1, channels}});
  const int weight = add_parameter("fc/weight", {classes, channels}, Init::xavier_uniform, true);
  const int bias = add_parameter("fc/bias", {classes}, Init::zeros, false);
  return add_layer({.name = "fc",
                    .kind = LayerKind::fully_connected,
                    .inputs = {pooled},
                    .out = {1, 1, 1, classes},
                    .weight = weight,
                    .bias = bias});
}

}  // namespace packhorse

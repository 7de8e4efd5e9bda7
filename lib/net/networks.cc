#include "net/networks.h"

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace packhorse {

namespace {

struct Network {
  std::string_view name;
  Graph (*make)(int64_t image_size, int64_t classes);
  int64_t smallest, largest;  ///< supported image sizes
};

constexpr std::array kNetworks = {
    Network{"inception-bn-21k", inception_bn_21k, 64, 1024}, Network{"inception-bn", inception_bn, 64, 1024},
    Network{"resnet-50", resnet_50, 64, 1024}, Network{"inception-bn-small", inception_bn_small, 16, 128}};

}  // namespace

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  names.reserve(kNetworks.size());
  for (const Network& network : kNetworks) names.emplace_back(network.name);
  return names;
}

Graph make_network(const std::string& name, int64_t image_size, int64_t classes) {
  for (const Network& network : kNetworks) {
    if (network.name != name) continue;
    if (classes < 1)
      throw UsageError({"a network needs at least one class, not " + std::to_string(classes), "classes",
                        "give the number of classes of the data set"});
    if (image_size < network.smallest || image_size > network.largest)
      throw UsageError(
          {name + " takes images of " + std::to_string(network.smallest) + " to " + std::to_string(network.largest) +
               " pixels, not " + std::to_string(image_size),
           "image size",
           image_size < network.smallest ? "use inception-bn-small for small images" : "resize the images"});
    return network.make(image_size, classes);
  }
  throw UsageError({"there is no network '" + name + "'", "network", "use one of " + joined(network_names())});
}

int64_t Graph::macs() const {
  int64_t sum = 0;
  for (const Layer& layer : layers) {
    if (layer.kind != LayerKind::convolution && layer.kind != LayerKind::fully_connected) continue;
    const int64_t channels_in = layers[static_cast<size_t>(layer.inputs.front())].out.c;
    sum += layer.out.count() * channels_in * layer.kernel * layer.kernel;
  }
  return sum;
}

}  // namespace packhorse

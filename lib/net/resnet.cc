#include <array>

#include "net/builder.h"
#include "net/networks.h"

namespace packhorse {

namespace {

// 1×1 → 3×3 (stride) → 1×1, four times as wide, added to its input or to a projection of it.
int bottleneck(GraphBuilder& net, const std::string& name, int src, int64_t width, int stride, bool project) {
  const ConvBn reduce{.name = name + "/reduce", .src = src, .out = width};
  int x = net.conv_bn(reduce);
  x = net.conv_bn({.name = name + "/3x3", .src = x, .out = width, .kernel = 3, .stride = stride, .pad = 1});
  x = net.conv_bn({.name = name + "/expand", .src = x, .out = 4 * width, .relu = false});
  if (project)
    src = net.conv_bn({.name = name + "/shortcut", .src = src, .out = 4 * width, .stride = stride, .relu = false});
  return net.add_relu(name, x, src);
}

}  // namespace

Graph resnet_50(int64_t image_size, int64_t classes) {
  GraphBuilder net("resnet-50", image_size, classes);
  int x = net.conv_bn({.name = "conv1", .src = net.input(), .out = 64, .kernel = 7, .stride = 2, .pad = 3});
  x = net.pool(LayerKind::max_pool, "pool1", x, 3, 2, 1);
  constexpr std::array kDepths = {3, 4, 6, 3};
  int64_t width = 64;
  for (int stage = 0; stage < 4; ++stage, width *= 2)
    for (int i = 0; i < kDepths[static_cast<size_t>(stage)]; ++i)
      x = bottleneck(net, std::to_string(stage + 2) + static_cast<char>('a' + i), x, width, i == 0 && stage > 0 ? 2 : 1,
                     i == 0);
  net.classifier(x);
  return net.finish();
}

}  // namespace packhorse

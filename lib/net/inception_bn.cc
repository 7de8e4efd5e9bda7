// Inception-BN in three sizes: a stem, then blocks of parallel branches whose channels are concatenated.
#include <array>
#include <span>

#include "net/builder.h"
#include "net/networks.h"

namespace packhorse {

namespace {

// Widths of a block's branches: 1×1 (a) · 1×1 (b) → 3×3 (c) · 1×1 (d) → 3×3 (e) → 3×3 (e) · pool → 1×1 (f).
// Blocks of stride 2 have a = f = 0: no 1×1 branch, and max pooling without a projection.
struct Block {
  const char* name;
  int64_t a, b, c, d, e;
  LayerKind pool;
  int64_t f;
};

// Each convolution is followed by batch norm and ReLU. The pool comes first, so that its 1×1 convolution can be a
// sibling of the others.
int block_a(GraphBuilder& net, int src, const Block& w) {
  const std::string name = w.name;
  const int pool = net.pool(w.pool, name + "/pool", src, 3, 1, 1);
  const auto reduced = net.siblings({{.name = name + "/1x1", .src = src, .out = w.a},
                                     {.name = name + "/3x3_reduce", .src = src, .out = w.b},
                                     {.name = name + "/double3x3_reduce", .src = src, .out = w.d},
                                     {.name = name + "/pool_proj", .src = pool, .out = w.f}});
  const int three = net.conv_bn({.name = name + "/3x3", .src = reduced[1], .out = w.c, .kernel = 3, .pad = 1});
  const int first = net.conv_bn({.name = name + "/double3x3_0", .src = reduced[2], .out = w.e, .kernel = 3, .pad = 1});
  const int second = net.conv_bn({.name = name + "/double3x3_1", .src = first, .out = w.e, .kernel = 3, .pad = 1});
  return net.concat(name, {reduced[0], three, second, reduced[3]});
}

int block_b(GraphBuilder& net, int src, const Block& w) {
  const std::string name = w.name;
  const int pool = net.pool(LayerKind::max_pool, name + "/pool", src, 3, 2, 0, true);
  const auto reduced = net.siblings({{.name = name + "/3x3_reduce", .src = src, .out = w.b},
                                     {.name = name + "/double3x3_reduce", .src = src, .out = w.d}});
  const int three =
      net.conv_bn({.name = name + "/3x3", .src = reduced[0], .out = w.c, .kernel = 3, .stride = 2, .pad = 1});
  const int first = net.conv_bn({.name = name + "/double3x3_0", .src = reduced[1], .out = w.e, .kernel = 3, .pad = 1});
  const int second =
      net.conv_bn({.name = name + "/double3x3_1", .src = first, .out = w.e, .kernel = 3, .stride = 2, .pad = 1});
  return net.concat(name, {three, second, pool});
}

int blocks(GraphBuilder& net, int src, std::span<const Block> table) {
  for (const Block& block : table) src = block.f > 0 ? block_a(net, src, block) : block_b(net, src, block);
  return src;
}

// The stem for images of ImageNet's size: reduces 224 pixels to 28.
int large_stem(GraphBuilder& net, int64_t conv1, int64_t reduce, int64_t conv2) {
  int x = net.conv_bn({.name = "conv1", .src = net.input(), .out = conv1, .kernel = 7, .stride = 2, .pad = 3});
  x = net.pool(LayerKind::max_pool, "pool1", x, 3, 2, 0, true);
  x = net.conv_bn({.name = "conv2_reduce", .src = x, .out = reduce});
  x = net.conv_bn({.name = "conv2", .src = x, .out = conv2, .kernel = 3, .pad = 1});
  return net.pool(LayerKind::max_pool, "pool2", x, 3, 2, 0, true);
}

constexpr LayerKind kAvg = LayerKind::average_pool, kMax = LayerKind::max_pool;

constexpr std::array k21k = {
    Block{"3a", 96, 96, 96, 96, 144, kAvg, 48},      Block{"3b", 96, 96, 144, 96, 144, kAvg, 96},
    Block{"3c", 0, 192, 240, 96, 144, kMax, 0},      Block{"4a", 224, 64, 96, 96, 128, kAvg, 128},
    Block{"4b", 192, 96, 128, 96, 128, kAvg, 128},   Block{"4c", 160, 128, 160, 128, 160, kAvg, 128},
    Block{"4d", 96, 128, 192, 160, 96, kAvg, 128},   Block{"4e", 0, 128, 192, 192, 256, kMax, 0},
    Block{"5a", 352, 192, 320, 160, 224, kAvg, 128}, Block{"5b", 352, 192, 320, 192, 224, kMax, 128}};

constexpr std::array kPaper = {
    Block{"3a", 64, 64, 64, 64, 96, kAvg, 32},       Block{"3b", 64, 64, 96, 64, 96, kAvg, 64},
    Block{"3c", 0, 128, 160, 64, 96, kMax, 0},       Block{"4a", 224, 64, 96, 96, 128, kAvg, 128},
    Block{"4b", 192, 96, 128, 96, 128, kAvg, 128},   Block{"4c", 160, 128, 160, 128, 160, kAvg, 128},
    Block{"4d", 96, 128, 192, 160, 192, kAvg, 128},  Block{"4e", 0, 128, 192, 192, 256, kMax, 0},
    Block{"5a", 352, 192, 320, 160, 224, kAvg, 128}, Block{"5b", 352, 192, 320, 192, 224, kMax, 128}};

constexpr std::array kSmall = {Block{"3a", 32, 32, 48, 16, 32, kAvg, 16}, Block{"3b", 0, 32, 64, 16, 32, kMax, 0},
                               Block{"4a", 96, 48, 96, 32, 48, kAvg, 48}};

}  // namespace

Graph inception_bn_21k(int64_t image_size, int64_t classes) {
  GraphBuilder net("inception-bn-21k", image_size, classes);
  net.classifier(blocks(net, large_stem(net, 96, 128, 288), k21k));
  return net.finish();
}

Graph inception_bn(int64_t image_size, int64_t classes) {
  GraphBuilder net("inception-bn", image_size, classes);
  net.classifier(blocks(net, large_stem(net, 64, 64, 192), kPaper));
  return net.finish();
}

Graph inception_bn_small(int64_t image_size, int64_t classes) {
  GraphBuilder net("inception-bn-small", image_size, classes);
  int x = net.conv_bn({.name = "conv1", .src = net.input(), .out = 32, .kernel = 3, .pad = 1});
  x = net.conv_bn({.name = "conv2", .src = x, .out = 48, .kernel = 3, .stride = 2, .pad = 1});
  net.classifier(blocks(net, x, kSmall));
  return net.finish();
}

}  // namespace packhorse

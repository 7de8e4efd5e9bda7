// Networks that tests build programs from.
#pragma once

#include <string>
#include <vector>

#include "net/builder.h"
#include "ops/step.h"

namespace packhorse {

/// A small network with every kind of layer: siblings with an average pool in front of one, a concatenation, both
/// pools, a residual.
inline Graph small_network() {
  GraphBuilder net("small", 8, 3);
  int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 16, .kernel = 3, .pad = 1});
  const int pool = net.pool(LayerKind::average_pool, "a/pool", x, 3, 1, 1);
  const auto siblings =
      net.siblings({{.name = "a/one", .src = x, .out = 16}, {.name = "a/proj", .src = pool, .out = 8}});
  const int peak = net.pool(LayerKind::max_pool, "a/max", x, 3, 1, 1);
  x = net.concat("a", {siblings[0], siblings[1], peak});
  const int y = net.conv_bn({.name = "r/conv", .src = x, .out = 40, .kernel = 3, .pad = 1, .relu = false});
  net.classifier(net.add_relu("r", y, x));
  return net.finish();
}

/// A small network with every kind of layer: a concat in a concat, residuals with and without projection, both pools,
/// siblings.
inline Graph menagerie() {
  GraphBuilder net("menagerie", 12, 5);
  int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 16, .kernel = 3, .pad = 1});
  x = net.pool(LayerKind::max_pool, "stem_pool", x, 3, 2, 0, true);
  const int pool = net.pool(LayerKind::average_pool, "a/pool", x, 3, 1, 1);
  const auto siblings = net.siblings({{.name = "a/one", .src = x, .out = 16},
                                      {.name = "a/two", .src = x, .out = 32},
                                      {.name = "a/proj", .src = pool, .out = 16}});
  const int three = net.conv_bn({.name = "a/three", .src = siblings[1], .out = 16, .kernel = 3, .pad = 1});
  const int peak = net.pool(LayerKind::max_pool, "a/max", x, 3, 1, 1);
  const int inner = net.concat("a/inner", {siblings[0], three});
  x = net.concat("a", {inner, siblings[2], peak});
  const int y = net.conv_bn({.name = "r/0", .src = x, .out = 64, .kernel = 3, .pad = 1, .relu = false});
  x = net.add_relu("r", y, x);
  const int left =
      net.conv_bn({.name = "s/left", .src = x, .out = 32, .kernel = 3, .stride = 2, .pad = 1, .relu = false});
  const int right = net.conv_bn({.name = "s/right", .src = x, .out = 32, .stride = 2, .relu = false});
  net.classifier(net.add_relu("s", left, right));
  return net.finish();
}

inline StepOptions step_of(int64_t batch, Dtype dtype = Dtype::f32, bool recompute = false) {
  StepOptions options;
  options.forward.batch = batch;
  options.forward.dtype = dtype;
  options.recompute = recompute;
  return options;
}

/// A network of ours, for images as small as it takes.
inline Graph small_form(const std::string& name) {
  return make_network(name, name == "inception-bn-small" ? 28 : 64, 10);
}

}  // namespace packhorse

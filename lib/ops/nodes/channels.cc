#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void copy_backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kCopyChannelsGradient, node);
  gradient.reads = {program.gradient_of(node, "dst", "dst_grad")};
  program.contribute(gradient, "src_grad", node, "src");
  program.append(gradient);
}

}  // namespace

const NodeKind kCopyChannels = {.name = "copy_channels", .differentiable = {"src"}, .backward = copy_backward};
const NodeKind kCopyChannelsGradient = {.name = "copy_channels_gradient"};
const NodeKind kFill = {.name = "fill"};

}  // namespace packhorse

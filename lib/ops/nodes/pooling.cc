#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void backward(Backward& program, const Node& node, const NodeKind& kind) {
  Node gradient = program.begin(kind, node);
  gradient.reads = {program.gradient_of(node, "dst", "dst_grad")};
  if (node.is(kMaxPool)) gradient.reads.push_back(node.at("argmax"));
  program.contribute(gradient, "src_grad", node, "src");
  program.append(gradient);
}

}  // namespace

const NodeKind kMaxPool = {
    .name = "max_pool", .differentiable = {"src"}, .backward = [](Backward& program, const Node& node) {
      backward(program, node, kMaxPoolGradient);
    }};
const NodeKind kMaxPoolGradient = {.name = "max_pool_gradient"};
const NodeKind kAveragePool = {
    .name = "average_pool", .differentiable = {"src"}, .backward = [](Backward& program, const Node& node) {
      backward(program, node, kAveragePoolGradient);
    }};
const NodeKind kAveragePoolGradient = {.name = "average_pool_gradient"};
const NodeKind kGlobalPool = {
    .name = "global_pool", .differentiable = {"src"}, .backward = [](Backward& program, const Node& node) {
      backward(program, node, kGlobalPoolGradient);
    }};
const NodeKind kGlobalPoolGradient = {.name = "global_pool_gradient"};

}  // namespace packhorse

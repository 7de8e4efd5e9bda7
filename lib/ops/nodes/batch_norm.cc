#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void statistics_backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kStatisticsGradient, node);
  gradient.reads = {node.at("src"), node.at("mean"), program.gradient_of(node, "variance", "k"),
                    program.gradient_of(node, "mean", "l")};
  program.contribute(gradient, "src_grad", node, "src");
  program.append(gradient);
}

void finish_backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kFinishGradient, node);
  gradient.reads = {program.gradient_of(node, "a", "a_grad"), program.gradient_of(node, "b", "b_grad"), node.at("mean"),
                    node.at("variance"), node.at("scale")};
  program.contribute(gradient, "scale_grad", node, "scale");
  program.contribute(gradient, "shift_grad", node, "shift");
  program.contribute(gradient, "k", node, "variance");
  program.contribute(gradient, "l", node, "mean");
  program.append(gradient);
}

void apply_backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kApplyGradient, node);
  gradient.reads = {program.gradient_of(node, "dst", "dst_grad"), node.at("src"), node.at("a"), node.at("b")};
  if (const Operand* residual = node.find("residual")) gradient.reads.push_back(*residual);
  program.contribute(gradient, "src_grad", node, "src");
  program.contribute(gradient, "a_grad", node, "a", Dtype::f64);
  program.contribute(gradient, "b_grad", node, "b", Dtype::f64);
  program.contribute(gradient, "residual_grad", node, "residual");
  program.append(gradient);
}

}  // namespace

const NodeKind kStatistics = {.name = "statistics", .differentiable = {"src"}, .backward = statistics_backward};
const NodeKind kFinish = {
    .name = "finish", .differentiable = {"mean", "variance", "scale", "shift"}, .backward = finish_backward};
const NodeKind kApply = {.name = "apply", .differentiable = {"src", "a", "b", "residual"}, .backward = apply_backward};
const NodeKind kApplyGradient = {.name = "apply_gradient"};
const NodeKind kFinishGradient = {.name = "finish_gradient"};
const NodeKind kStatisticsGradient = {.name = "statistics_gradient"};

}  // namespace packhorse

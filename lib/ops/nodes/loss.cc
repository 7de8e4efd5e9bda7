#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void backward(Backward& program, const Node& node) {
  Node gradient = program.begin(kLossGradient, node);
  gradient.reads = {node.at("logits"), node.at("labels")};
  if (const Operand* scale = node.find("loss_scale")) gradient.reads.push_back(*scale);
  program.contribute(gradient, "logits_grad", node, "logits");
  program.append(gradient);
}

}  // namespace

const NodeKind kLoss = {.name = "loss", .differentiable = {"logits"}, .backward = backward};
const NodeKind kLossGradient = {.name = "loss_gradient"};

}  // namespace packhorse

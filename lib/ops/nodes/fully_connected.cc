#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void backward(Backward& program, const Node& node) {
  const Operand dst_grad = program.gradient_of(node, "dst", "dst_grad");
  Node weight = program.begin(kFullyConnectedWeightGradient, node);
  weight.reads = {node.at("src"), dst_grad};
  program.contribute(weight, "weight_grad", node, "weight");
  program.append(weight);
  Node bias = program.begin(kBiasGradient, node);
  bias.reads = {dst_grad};
  program.contribute(bias, "bias_grad", node, "bias");
  program.append(bias);
  if (!program.wants(node, "src")) return;
  Node data = program.begin(kFullyConnectedDataGradient, node);
  data.reads = {dst_grad, node.at("weight")};
  program.contribute(data, "src_grad", node, "src");
  program.append(data);
}

int64_t macs(const Program& program, const Node& node) {
  return program.shape(node.at("dst")).count() * node.at("src").count;
}
int64_t data_macs(const Program& program, const Node& node) {
  return program.shape(node.at("dst_grad")).count() * node.at("src_grad").count;
}
int64_t weight_macs(const Program& program, const Node& node) {
  return program.shape(node.at("dst_grad")).count() * node.at("src").count;
}

}  // namespace

const NodeKind kFullyConnected = {
    .name = "fully_connected", .differentiable = {"src", "weight", "bias"}, .backward = backward, .macs = macs};
const NodeKind kFullyConnectedDataGradient = {.name = "fully_connected_data_gradient", .macs = data_macs};
const NodeKind kFullyConnectedWeightGradient = {.name = "fully_connected_weight_gradient", .macs = weight_macs};
const NodeKind kBiasGradient = {.name = "bias_gradient"};

}  // namespace packhorse

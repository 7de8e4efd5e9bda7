#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void backward(Backward& program, const Node& node) {
  Node weight = program.begin(kConvolutionWeightGradient, node);
  weight.reads = {node.at("src"), program.gradient_of(node, "dst", "dst_grad")};
  program.contribute(weight, "weight_grad", node, "weight");
  program.append(weight);
  if (!program.wants(node, "src")) return;
  Node data = program.begin(kConvolutionDataGradient, node);
  data.reads = {program.gradient_of(node, "dst", "dst_grad"), node.at("weight")};
  program.contribute(data, "src_grad", node, "src");
  program.append(data);
}

int64_t products(const Program& program, const Operand& input, const Operand& output, const Node& node) {
  const auto kernel = static_cast<int64_t>(node.number("kernel", 1));
  return program.shape(output).count() * input.count * kernel * kernel;
}

int64_t macs(const Program& program, const Node& node) {
  return products(program, node.at("src"), node.at("dst"), node);
}
int64_t data_macs(const Program& program, const Node& node) {
  return products(program, node.at("src_grad"), node.at("dst_grad"), node);
}
int64_t weight_macs(const Program& program, const Node& node) {
  return products(program, node.at("src"), node.at("dst_grad"), node);
}

}  // namespace

const NodeKind kConvolution = {
    .name = "convolution", .differentiable = {"src", "weight"}, .backward = backward, .macs = macs};
const NodeKind kConvolutionDataGradient = {.name = "convolution_data_gradient", .macs = data_macs};
const NodeKind kConvolutionWeightGradient = {.name = "convolution_weight_gradient", .macs = weight_macs};

}  // namespace packhorse

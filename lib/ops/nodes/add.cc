#include "ops/backward.h"
#include "ops/nodes.h"

namespace packhorse {

namespace {

void backward(Backward& program, const Node& node) {
  for (const char* role : {"a", "b"}) {
    if (!program.wants(node, role)) continue;
    Node gradient = program.begin(kAddGradient, node);
    gradient.numbers.clear();
    gradient.reads = {program.gradient_of(node, "dst", "dst_grad")};
    if (node.number("relu") > 0) gradient.reads.push_back(node.at("dst"));
    program.contribute(gradient, "src_grad", node, role);
    // With an addend the result lies where that lies.
    if (gradient.in_place.empty()) gradient.in_place = {{"src_grad", "dst_grad"}};
    program.append(gradient);
  }
}

}  // namespace

const NodeKind kAdd = {.name = "add", .differentiable = {"a", "b"}, .backward = backward};
const NodeKind kAddGradient = {.name = "add_gradient"};

}  // namespace packhorse

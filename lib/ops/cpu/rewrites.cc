#include "ops/cpu/rewrites.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/backward.h"
#include "ops/cpu/context.h"
#include "ops/rewrites.h"
#include "ops/weight_copies.h"

namespace packhorse::cpu {

const NodeKind kBatchNormGradient = {.name = "batch_norm_gradient"};
const NodeKind kLossWithGradient = {.name = "loss_with_gradient"};
const NodeKind kSgdWithNorm = {.name = "sgd_with_norm"};

void fuse_batch_norm_gradients(Program& program, const Backend& backend) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    const Node& apply = node_at(program, n);
    if (!apply.is(kApplyGradient) || apply.find("residual") != nullptr || apply.find("src_grad") == nullptr) continue;
    const int finish = only_reader(program, apply.at("a_grad"));
    const int statistics = only_reader(program, apply.at("src_grad"));
    if (!is(program, finish, kFinishGradient) || !is(program, statistics, kStatisticsGradient) || finish > statistics ||
        only_reader(program, apply.at("b_grad")) != finish ||
        only_reader(program, node_at(program, finish).at("k")) != statistics ||
        only_reader(program, node_at(program, finish).at("l")) != statistics)
      continue;
    const Node &middle = node_at(program, finish), &last = node_at(program, statistics);
    Node fused{.kind = &kBatchNormGradient, .name = apply.name, .pass = Pass::backward};
    fused.reads = {apply.at("dst_grad"), apply.at("src"),       apply.at("a"),     apply.at("b"),
                   middle.at("mean"),    middle.at("variance"), middle.at("scale")};
    fused.writes = {middle.at("scale_grad"), middle.at("shift_grad"), last.at("src_grad")};
    if (const Operand* addend = apply.find("src_grad_addend")) {
      fused.reads.push_back(*addend);
      fused.in_place = {{"src_grad", "src_grad_addend"}};
    } else {
      fused.in_place = {{"src_grad", "src"}};
    }
    if (backend.supported(program, fused)) fuse(program, {n, finish, statistics}, std::move(fused));
  }
}

void fuse_losses(Program& program, const Backend& backend) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (!node_at(program, n).is(kLoss)) continue;
    int other = n + 1;
    while (other < static_cast<int>(program.nodes.size()) && !node_at(program, other).is(kLossGradient)) ++other;
    if (other == static_cast<int>(program.nodes.size())) continue;
    const Node &loss = node_at(program, n), &gradient = node_at(program, other);
    Node fused{.kind = &kLossWithGradient, .name = loss.name, .reads = loss.reads, .numbers = loss.numbers};
    fused.writes = {loss.at("result"), gradient.at("logits_grad")};
    if (backend.supported(program, fused)) fuse(program, {n, other}, std::move(fused));
  }
}

void fuse_residuals(Program& program, const Backend& backend) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (!node_at(program, n).is(kAdd)) continue;
    const Node add = node_at(program, n);
    if (overlap(add.at("a"), add.at("b"))) continue;  // both sides are the normalised values
    for (const char* role : {"b", "a"}) {
      const Operand& sum = add.at(role);
      const int number = writer_of(program, sum);
      if (!is(program, number, kApply) || only_reader(program, sum) != n) continue;
      const Node& apply = node_at(program, number);
      if (apply.flag("relu") || apply.find("residual") != nullptr) continue;
      Node fused{.kind = &kApply, .name = add.name, .reads = apply.reads, .writes = add.writes, .numbers = add.numbers};
      fused.reads.push_back(as("residual", add.at(std::string(role) == "a" ? "b" : "a")));
      fused.in_place = {{"dst", "src"}, {"dst", "residual"}};
      fused.pass = add.pass;
      if (!backend.supported(program, fused)) continue;
      fuse(program, {number, n}, std::move(fused));
      --n;  // one node less
      break;
    }
  }
}

void fuse_updates(Program& program, const Backend& backend) {
  std::vector<int> members;
  int norm = -1;
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (node_at(program, n).is(kSgd)) members.push_back(n);
    if (node_at(program, n).is(kNorm)) norm = n;
  }
  if (members.empty() || norm < members.back()) return;
  const Node& first = node_at(program, members.front());
  Node fused{.kind = &kSgdWithNorm, .name = "weights", .pass = Pass::update};
  for (const char* role : {"weight", "gradient", "momentum"})
    fused.reads.push_back(program.whole(first.at(role).value, role));
  fused.reads.push_back(first.at("finite"));
  for (const char* role : {"new_weight", "new_momentum"})
    fused.writes.push_back(program.whole(first.at(role).value, role));
  fused.writes.push_back(node_at(program, norm).at("squares"));
  fused.in_place = first.in_place;
  members.push_back(norm);
  if (backend.supported(program, fused)) fuse(program, members, std::move(fused));
}

void copy_weights(Context& context, Program& program, Program& refresh) {
  const CopyFor copy_for = [&](const Program& whole, const Node& node) -> std::optional<WeightCopy> {
    const bool product = node.is(kFullyConnected) || node.is(kFullyConnectedDataGradient);
    const Shape plain{1, 1, 1, node.at("weight").count};
    if (product && context.dtype() != Dtype::f32)
      return WeightCopy{.name = "bf16", .dtype = Dtype::bf16, .shape = plain};
    if (!node.is(kConvolution) && !node.is(kConvolutionDataGradient)) return std::nullopt;
    const WeightLayout layout = weight_layout(context, whole, node);
    if (layout.name.empty()) return std::nullopt;
    return WeightCopy{.name = layout.name,
                      .dtype = context.dtype(),
                      .shape = plain,
                      .layout = layout.name,
                      .layout_bytes = layout.bytes};
  };
  packhorse::copy_weights(program, refresh, copy_for);
}

void round_operands(Context& context, Program& program) {
  if (context.dtype() == Dtype::f32) return;
  std::map<int, int> rounded;  // from a value to its copy
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    Node node = program.nodes[n];
    if (!node.is(kFullyConnected) && !node.is(kFullyConnectedDataGradient) && !node.is(kFullyConnectedWeightGradient))
      continue;
    for (Operand& operand : node.reads) {
      if (operand.role != "src" && operand.role != "dst_grad") continue;
      if (program.value(operand).dtype != Dtype::f32) continue;
      const auto known = rounded.find(operand.value);
      if (known == rounded.end()) {
        Value copy = program.value(operand);
        copy.name += " in bf16";
        copy.dtype = Dtype::bf16;
        copy.storage = Storage::slab;
        copy.state.clear();
        copy.output = false;
        const Operand dst = program.whole(program.add(std::move(copy)));
        Node rounding = copy_node(program.value(operand).name, operand, dst);
        rounding.pass = node.pass;
        rounded[operand.value] = dst.value;
        program.nodes.insert(program.nodes.begin() + static_cast<int64_t>(n++), std::move(rounding));
      }
      operand.value = rounded.at(operand.value);
    }
    program.nodes[n] = std::move(node);
  }
}

}  // namespace packhorse::cpu

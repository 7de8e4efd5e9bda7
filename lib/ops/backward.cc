#include "ops/backward.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace packhorse {

namespace {

bool is_weight(const Value& value) { return value.storage == Storage::state && value.state == kWeights; }

}  // namespace

void Backward::run() {
  find_what_needs_gradients();
  for (size_t n = program_.nodes.size(); n-- > 0;) {
    const Node node = program_.nodes[n];  // a copy: the list grows
    if (flows_through(node)) node.kind->backward(*this, node);
  }
}

bool Backward::flows_through(const Node& node) const {
  return node.kind->backward != nullptr &&
         std::any_of(node.kind->differentiable.begin(), node.kind->differentiable.end(),
                     [&](std::string_view role) { return wants(node, role); });
}

// Whatever depends on a weight, by nodes that have a gradient.
void Backward::find_what_needs_gradients() {
  needs_.assign(program_.values.size(), false);
  for (size_t v = 0; v < needs_.size(); ++v) needs_[v] = is_weight(program_.values[v]);
  for (const Node& node : program_.nodes) {
    if (node.kind->backward == nullptr) continue;
    for (const std::string_view role : node.kind->differentiable) {
      if (!wants(node, role)) continue;
      const Operand& operand = node.at(role);
      ++contributions_[{operand.value, operand.first, operand.count}].expected;
    }
    if (!flows_through(node)) continue;
    for (const Operand& result : node.writes) needs_[static_cast<size_t>(result.value)] = true;
  }
}

Node Backward::begin(const NodeKind& kind, const Node& node) const {
  return {.kind = &kind, .name = node.name, .numbers = node.numbers, .pass = Pass::backward};
}

Operand Backward::gradient_of(const Node& node, std::string_view role, std::string as_role) const {
  const Operand& result = node.at(role);
  const auto found = gradient_.find(result.value);
  if (found == gradient_.end())
    throw Error({"no gradient reaches the result '" + std::string(role) + "'",
                 std::string(node.kind->name) + " " + node.name, "every layer must lead to the loss"});
  return {std::move(as_role), found->second, result.first, result.count};
}

bool Backward::wants(const Node& node, std::string_view role) const {
  const Operand* operand = node.find(role);
  return operand != nullptr && needs_[static_cast<size_t>(operand->value)];
}

int Backward::gradient_value(int value, Dtype dtype) {
  if (const auto found = gradient_.find(value); found != gradient_.end()) return found->second;
  Value gradient = program_.value(value);
  gradient.name = "d " + gradient.name;
  gradient.dtype = dtype;
  gradient.output = false;
  if (is_weight(gradient)) {
    gradient.name = gradient.state = kGradients;
  } else {
    gradient.storage = Storage::slab;
    gradient.state.clear();
  }
  return gradient_[value] = program_.add(std::move(gradient));
}

void Backward::contribute(Node& gradient, const std::string& result, const Node& node, std::string_view role) {
  if (wants(node, role)) contribute(gradient, result, node, role, program_.value(node.at(role)).dtype);
}

void Backward::contribute(Node& gradient, const std::string& result, const Node& node, std::string_view role,
                          Dtype dtype) {
  if (!wants(node, role)) return;
  const Operand& operand = node.at(role);
  const int whole = gradient_value(operand.value, dtype);
  Contributions& all = contributions_.at({operand.value, operand.first, operand.count});
  Operand sum{result, whole, operand.first, operand.count};
  if (all.done + 1 < all.expected) {  // others follow: this is not the gradient yet
    Value partial = program_.value(whole);
    partial.name += " " + std::to_string(all.done + 1);
    partial.storage = Storage::slab;
    partial.state.clear();
    partial.shape.c = operand.count;
    sum = program_.whole(program_.add(std::move(partial)), result);
  }
  if (all.done > 0) {
    gradient.reads.push_back(as(result + "_addend", all.sum));
    gradient.in_place.push_back({result, result + "_addend"});
  }
  gradient.writes.push_back(sum);
  all.sum = sum;
  ++all.done;
}

}  // namespace packhorse

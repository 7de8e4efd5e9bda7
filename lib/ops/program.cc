#include "ops/program.h"

#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"

namespace packhorse {

const Operand* Node::find(std::string_view role) const {
  for (const auto* side : {&reads, &writes})
    for (const Operand& operand : *side)
      if (operand.role == role) return &operand;
  return nullptr;
}

const Operand& Node::at(std::string_view role) const {
  if (const Operand* found = find(role)) return *found;
  throw Error({"the node has no operand '" + std::string(role) + "'", std::string(kind->name) + " " + name, ""});
}

double Node::number(const std::string& key, double otherwise) const {
  const auto found = numbers.find(key);
  return found == numbers.end() ? otherwise : found->second;
}

int Program::add(Value value) {
  values.push_back(std::move(value));
  return static_cast<int>(values.size()) - 1;
}

Operand Program::whole(int number, std::string role) const {
  return {std::move(role), number, 0, value(number).shape.c};
}

Shape Program::shape(const Operand& operand) const {
  Shape shape = value(operand).shape;
  shape.c = operand.count;
  return shape;
}

int Program::first_version(const std::string& state) const {
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].storage == Storage::state && values[v].state == state) return static_cast<int>(v);
  return -1;
}

int Program::last_version(const std::string& state) const {
  for (size_t v = values.size(); v-- > 0;)
    if (values[v].storage == Storage::state && values[v].state == state) return static_cast<int>(v);
  return -1;
}

int Program::next_version(const std::string& state) {
  Value next = value(last_version(state));
  next.name += "'";
  return add(std::move(next));
}

Operand as(std::string role, Operand operand) {
  operand.role = std::move(role);
  return operand;
}

Operand part(const Operand& operand, int64_t first, int64_t count) {
  return {operand.role, operand.value, operand.first + first, count};
}

bool overlap(const Operand& a, const Operand& b) {
  return a.value == b.value && a.first < b.first + b.count && b.first < a.first + a.count;
}

namespace {

template <typename Visit>
void each_operand(Node& node, const Visit& visit) {
  for (auto* side : {&node.reads, &node.writes})
    for (Operand& operand : *side) visit(operand);
  for (Node& inner : node.body) each_operand(inner, visit);
}

}  // namespace

void redirect(Program& program, int value, const Operand& to) {
  for (Node& node : program.nodes)
    each_operand(node, [&](Operand& operand) {
      if (operand.value != value) return;
      operand.value = to.value;
      operand.first += to.first;
    });
}

void remove_unused_values(Program& program) {
  std::vector<int> number(program.values.size(), -1);
  for (Node& node : program.nodes)
    each_operand(node, [&](const Operand& operand) { number[static_cast<size_t>(operand.value)] = 0; });
  std::vector<Value> kept;
  for (size_t v = 0; v < number.size(); ++v) {
    if (number[v] < 0) continue;
    number[v] = static_cast<int>(kept.size());
    kept.push_back(std::move(program.values[v]));
  }
  program.values = std::move(kept);
  for (Node& node : program.nodes)
    each_operand(node, [&](Operand& operand) { operand.value = number[static_cast<size_t>(operand.value)]; });
}

namespace {

// The channels of a value that are written so far.
class Written {
 public:
  void add(int64_t first, int64_t count) {
    int64_t end = first + count;
    auto next = ranges_.upper_bound(first);
    if (next != ranges_.begin() && std::prev(next)->second == first) first = (--next)->first;
    if (const auto after = ranges_.find(end); after != ranges_.end()) {
      end = after->second;
      ranges_.erase(after);
    }
    ranges_[first] = end;
  }
  bool any(int64_t first, int64_t count) const {
    const auto next = ranges_.lower_bound(first + count);
    return next != ranges_.begin() && std::prev(next)->second > first;
  }
  bool all(int64_t first, int64_t count) const {
    const auto next = ranges_.upper_bound(first);
    return next != ranges_.begin() && std::prev(next)->second >= first + count;
  }

 private:
  std::map<int64_t, int64_t> ranges_;  // from the first channel to the one after the last; neighbours are merged
};

// The states' first versions, unless the program writes them, and what comes with a call.
std::vector<Written> given(const Program& program) {
  std::vector<bool> has_writer(program.values.size());
  for (const Node& node : program.nodes)
    for (const Operand& operand : node.writes) has_writer[static_cast<size_t>(operand.value)] = true;
  std::vector<Written> written(program.values.size());
  for (size_t v = 0; v < program.values.size(); ++v) {
    const Value& value = program.values[v];
    const bool first_version =
        value.storage == Storage::state && program.first_version(value.state) == static_cast<int>(v);
    if (value.storage == Storage::input || (first_version && !has_writer[v])) written[v].add(0, value.shape.c);
  }
  return written;
}

}  // namespace

void verify(const Program& program) {
  const auto refuse = [&](const Node& node, const Operand& operand, const char* what) {
    throw Error({fmt::format("channels {} to {} of the value '{}' {}", operand.first, operand.first + operand.count - 1,
                             program.value(operand).name, what),
                 fmt::format("{}: {} {}", program.name, node.kind->name, node.name),
                 "each channel has one writer, which comes before its readers"});
  };
  std::vector<Written> written = given(program);
  for (const Node& node : program.nodes) {
    for (const auto* side : {&node.reads, &node.writes})
      for (const Operand& operand : *side)
        if (operand.first < 0 || operand.count < 1 || operand.first + operand.count > program.value(operand).shape.c)
          refuse(node, operand, "lie outside it");
    for (const Operand& operand : node.reads)
      if (!written[static_cast<size_t>(operand.value)].all(operand.first, operand.count))
        refuse(node, operand, "are read before they are written");
    for (const Operand& operand : node.writes) {
      if (written[static_cast<size_t>(operand.value)].any(operand.first, operand.count))
        refuse(node, operand, "are written twice");
      written[static_cast<size_t>(operand.value)].add(operand.first, operand.count);
    }
  }
}

namespace {

std::string text_of(const Program& program, const Operand& operand) {
  const Value& value = program.value(operand);
  std::string text = fmt::format("{}={}", operand.role, value.name);
  if (operand.first != 0 || operand.count != value.shape.c)
    text += fmt::format("[{}:{}]", operand.first, operand.first + operand.count);
  return text;
}

void append(std::string& text, const Program& program, const Node& node, const std::string& indent) {
  text += fmt::format("{}{} {}", indent, node.kind->name, node.name);
  for (const auto& [key, number] : node.numbers)
    text += fmt::format(" {}={:.{}g}", key, number, number == std::floor(number) ? 15 : 7);
  constexpr std::string_view kLaneNames[kLanes] = {"", " on side", " on sums", " on copies"};
  text += kLaneNames[static_cast<size_t>(node.lane)];
  for (const Operand& operand : node.reads) text += " " + text_of(program, operand);
  text += " ->";
  for (const Operand& operand : node.writes) text += " " + text_of(program, operand);
  text += "\n";
  for (const Node& inner : node.body) append(text, program, inner, indent + "    | ");
}

}  // namespace

std::string text_of(const Program& program) {
  std::string text = "program " + program.name + "\n";
  for (const Value& value : program.values) {
    text += fmt::format("{} {} ({}, {}, {}, {})", name_of(value.dtype), value.name, value.shape.n, value.shape.h,
                        value.shape.w, value.shape.c);
    if (!value.layout.empty()) text += " as " + value.layout;
    if (value.storage == Storage::state) text += " state " + value.state;
    if (value.storage == Storage::input) text += " input";
    if (value.output) text += " output";
    text += "\n";
  }
  for (const Node& node : program.nodes) append(text, program, node, "");
  return text;
}

int64_t macs_of(const Program& program, const Node& node) {
  if (node.kind->macs != nullptr) return node.kind->macs(program, node);
  int64_t sum = 0;
  for (const Node& inner : node.body) sum += macs_of(program, inner);
  return sum;
}

}  // namespace packhorse

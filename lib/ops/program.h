// A step as data: nodes that read values and write values. No memory, no kernels.
//
// Rules:
// - A value means its bytes. Every channel of it is written by exactly one node (a state's first version by nobody),
// and
//   whoever reads channels follows all their writers.
// - A state is kept from step to step. Its versions are values that lie at the same bytes; a new version is written
//   after everyone has read the old one.
// - A node keeps nothing between two runs.
// - The order of the list is the order within a lane. What lanes must wait for follows from what nodes read and write
//   (order.h); nobody writes it down.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/types.h"

namespace packhorse {

class Backward;
struct Node;
struct Program;

enum class Storage {
  slab,   ///< planned: shares its bytes with values that live at other times
  state,  ///< kept from step to step
  input   ///< comes with each call: pixels, labels
};

struct Value {
  std::string name;
  Shape shape;  ///< an array without pixels is (1, 1, 1, length)
  Dtype dtype = Dtype::f32;
  Storage storage = Storage::slab;
  std::string state{};        ///< storage state: values with the same name are versions, in the order of their numbers
  std::string layout{};       ///< empty: channels last. Else an order of the elements that only its backend knows
  uint64_t layout_bytes = 0;  ///< of a layout: padding included
  bool output = false;        ///< its bytes are its own to the end of the program

  uint64_t bytes() const {
    return layout.empty() ? static_cast<uint64_t>(shape.count()) * size_of(dtype) : layout_bytes;
  }
};

/// A range of the channels of a value, and what the node takes it for: "src", "weight".
struct Operand {
  std::string role{};
  int value = -1;
  int64_t first = 0, count = 0;
};

/// A kind of node: what is true of it on every backend. One file in nodes/, one line in nodes.h.
struct NodeKind {
  std::string_view name;
  /// The operands that a gradient flows to.
  std::array<std::string_view, 4> differentiable{};
  /// Appends the nodes of its gradient. Null: none flows through it.
  void (*backward)(Backward& program, const Node& node) = nullptr;
  /// Multiply-adds. Null: none worth counting.
  int64_t (*macs)(const Program& program, const Node& node) = nullptr;
};

/// The result may lie at the bytes of the operand, if everyone else has read them before.
struct InPlace {
  std::string result, operand;
};

enum class Pass { forward, backward, update };

/// What runs at the same time: the computation, what of it can run beside (lanes.h), the sums over ranks, and the
/// copies of what comes with a step.
enum class Lane { main, side, sums, copies };
inline constexpr size_t kLanes = 4;

struct Node {
  const NodeKind* kind = nullptr;
  std::string name;                         ///< of the layer: "3a/3x3/conv"
  std::vector<Operand> reads{}, writes{};   ///< roles are unique in a node
  std::map<std::string, double> numbers{};  ///< "kernel", "epsilon": what the kind's comment lists
  std::vector<InPlace> in_place{};
  Pass pass = Pass::forward;
  Lane lane = Lane::main;
  std::vector<Node> body{};  ///< of a fused node: the plain nodes that it stands for, in their order

  bool is(const NodeKind& other) const { return kind == &other; }
  /// Null if the node has no operand of this role.
  const Operand* find(std::string_view role) const;
  /// Throws an Error if the node has no operand of this role.
  const Operand& at(std::string_view role) const;
  double number(const std::string& key, double otherwise = 0) const;
  bool flag(const std::string& key) const { return number(key) > 0; }
};

struct Program {
  std::string name;
  std::vector<Value> values{};
  std::vector<Node> nodes{};

  int add(Value value);
  const Value& value(int number) const { return values[static_cast<size_t>(number)]; }
  const Value& value(const Operand& operand) const { return value(operand.value); }
  Operand whole(int number, std::string role = {}) const;
  /// The shape of the channels that the operand names.
  Shape shape(const Operand& operand) const;
  /// The first and the last version of a state; -1 if the program does not know it.
  int first_version(const std::string& state) const;
  int last_version(const std::string& state) const;
  /// Adds a version after the last one.
  int next_version(const std::string& state);
};

/// The operand with another role, or another part of its channels.
Operand as(std::string role, Operand operand);
Operand part(const Operand& operand, int64_t first, int64_t count);
/// True if the two name a common channel of the same value.
bool overlap(const Operand& a, const Operand& b);

/// Whoever named the value now names the operand's channels instead: the value is gone.
void redirect(Program& program, int value, const Operand& to);
/// Removes the values that no node names, and numbers the others anew.
void remove_unused_values(Program& program);

/// Throws an Error if a channel is written twice, is read before it is written, or lies outside its value.
void verify(const Program& program);

/// One line a node: kind, name, results, operands, numbers.
std::string text_of(const Program& program);

int64_t macs_of(const Program& program, const Node& node);

}  // namespace packhorse

// Changes to a program that keep what it computes: plain functions, in an ordered list. Each finds certain nodes and
// puts others in their place.
//
// - Algebraic rewrites change the forward program, before its backward pass is generated.
// - Fusions come after. They belong to a backend (its rewrites.cc), which must support what they put. A fused node
// keeps
//   the plain nodes that it replaced as its body.
#pragma once

#include <vector>

#include "ops/program.h"

namespace packhorse {

class Backend;

using Rewrite = void (*)(Program& program);
/// Leaves a place alone whose fused node `backend` does not support.
using Fusion = void (*)(Program& program, const Backend& backend);

// ---- Algebraic (algebra.cc)

/// An average pool in front of a 1×1 convolution that has siblings moves behind it, where it has fewer channels. (It
/// commutes with a 1×1 convolution without bias, because borders count as zeros in either order.)
void move_average_pools(Program& program);
/// 1×1 convolutions that read the same source and whose weights are adjacent become one; who read a result reads a
/// range of its channels.
void merge_siblings(Program& program);

// ---- After the backward pass

/// A value that only `apply` nodes write is not kept for the backward pass: clones of them write it again, immediately
/// before its first reader there.
void recompute_applies(Program& program);

// ---- For rewrites and fusions

/// The node that writes some of these channels last; -1: none.
int writer_of(const Program& program, const Operand& operand);
/// The nodes that read some of these channels.
std::vector<int> readers_of(const Program& program, const Operand& operand);
/// The only one of them; -1 if there are several, or none, or if the value must be there afterwards.
int only_reader(const Program& program, const Operand& operand);
/// False for the number -1.
bool is(const Program& program, int number, const NodeKind& kind);
/// True if the two name the same channels, whatever their roles.
bool same(const Operand& a, const Operand& b);
/// True if the operand names all channels of its value.
bool whole(const Program& program, const Operand& operand);
inline const Node& node_at(const Program& program, int number) { return program.nodes[static_cast<size_t>(number)]; }
/// The fused node replaces `members` (numbers of nodes, rising), which become its body. Nodes between them that need a
/// result of theirs move behind it. Throws an Error if one of the members in turn needs such a node.
void fuse(Program& program, const std::vector<int>& members, Node fused);
/// Every fused node makes way for its body.
void expand_bodies(Program& program);

}  // namespace packhorse

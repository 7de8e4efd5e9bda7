#include "ops/memory_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "ops/order.h"

namespace packhorse {

namespace {

// Large values begin on a page, so that they share neither pages nor cache lines; small ones only keep off each other's
// cache lines.
constexpr uint64_t kPage = 4096, kLine = 64, kSmall = 4 * kPage;

struct Access {
  int node = 0;
  Operand operand;
  bool write = false;
};

class Planner {
 public:
  Planner(const Program& program, const Order& order, const std::function<bool(int)>& counted)
      : program_(program), order_(order), accesses_(program.values.size()), place_(program.values.size(), -1) {
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      for (const Operand& operand : program.nodes[n].reads) note(n, operand, false, counted);
      for (const Operand& operand : program.nodes[n].writes) note(n, operand, true, counted);
    }
  }

  MemoryPlan run() {
    share_in_place();
    MemoryPlan plan;
    plan.shares_with = place_;
    plan.offset.assign(place_.size(), -1);
    std::vector<Block> blocks;
    std::vector<int> block_of(place_.size(), -1);
    for (size_t v = 0; v < place_.size(); ++v) {
      if (place_[v] < 0) continue;
      const uint64_t bytes = program_.values[v].bytes();
      plan.unplanned_bytes += bytes;
      if (place_[v] != static_cast<int>(v)) continue;
      block_of[v] = static_cast<int>(blocks.size());
      blocks.push_back({.bytes = bytes, .alignment = bytes < kSmall ? kLine : kPage});
      lifetimes_.push_back(lifetime(static_cast<int>(v)));
    }
    plan.bytes = place(blocks, [&](size_t a, size_t b) {
      return !ends_before(lifetimes_[a], lifetimes_[b]) && !ends_before(lifetimes_[b], lifetimes_[a]);
    });
    for (size_t v = 0; v < place_.size(); ++v)
      if (place_[v] >= 0)
        plan.offset[v] =
            static_cast<int64_t>(blocks[static_cast<size_t>(block_of[static_cast<size_t>(place_[v])])].offset);
    return plan;
  }

 private:
  // The nodes that touch a place, and those that come after all of them.
  struct Lifetime {
    std::vector<uint64_t> touched, after;
  };

  void note(size_t node, const Operand& operand, bool write, const std::function<bool(int)>& counted) {
    const Value& value = program_.value(operand);
    if (value.storage != Storage::slab || (counted && !counted(operand.value))) return;
    accesses_[static_cast<size_t>(operand.value)].push_back({static_cast<int>(node), operand, write});
    place_[static_cast<size_t>(operand.value)] = operand.value;
  }

  void share_in_place() {
    for (const Node& node : program_.nodes)
      for (const InPlace& permission : node.in_place) {
        const Operand &result = node.at(permission.result), &operand = node.at(permission.operand);
        if (fits(result, operand) && nobody_loses(operand.value, result.value)) join(operand.value, result.value);
      }
  }

  bool fits(const Operand& result, const Operand& operand) const {
    const Value &to = program_.value(result), &from = program_.value(operand);
    const int a = place_[static_cast<size_t>(result.value)], b = place_[static_cast<size_t>(operand.value)];
    return a >= 0 && b >= 0 && a != b && to.shape == from.shape && to.dtype == from.dtype && to.layout.empty() &&
           from.layout.empty();
  }

  // True if nobody needs what is at the place of `old` when the values at the place of `next` are written over it.
  bool nobody_loses(int old, int next) const {
    for (const int x : members(old)) {
      if (program_.value(x).output) return false;
      for (const int y : members(next))
        for (const Access& write : accesses_[static_cast<size_t>(y)])
          for (const Access& use : accesses_[static_cast<size_t>(x)])
            if (write.write && !may_overwrite(write, use)) return false;
    }
    return true;
  }

  bool may_overwrite(const Access& write, const Access& use) const {
    const Operand &a = write.operand, &b = use.operand;
    const bool apart = a.first >= b.first + b.count || b.first >= a.first + a.count;
    if (apart || order_.before(use.node, write.node)) return true;
    return use.node == write.node && !use.write && a.first == b.first && a.count == b.count &&
           permits(program_.nodes[static_cast<size_t>(use.node)], a, b);
  }

  static bool permits(const Node& node, const Operand& result, const Operand& operand) {
    return std::any_of(node.in_place.begin(), node.in_place.end(), [&](const InPlace& permission) {
      return permission.result == result.role && permission.operand == operand.role;
    });
  }

  std::vector<int> members(int value) const {
    std::vector<int> found;
    for (size_t v = 0; v < place_.size(); ++v)
      if (place_[v] >= 0 && place_[v] == place_[static_cast<size_t>(value)]) found.push_back(static_cast<int>(v));
    return found;
  }

  void join(int a, int b) {
    const int to = std::min(place_[static_cast<size_t>(a)], place_[static_cast<size_t>(b)]);
    for (const int from : {a, b})
      for (const int v : members(from)) place_[static_cast<size_t>(v)] = to;
  }

  Lifetime lifetime(int value) const {
    const size_t words = order_.words();
    Lifetime result{std::vector<uint64_t>(words, 0), std::vector<uint64_t>(words, ~uint64_t{0})};
    for (const int v : members(value)) {
      if (program_.value(v).output) result.after.assign(words, 0);
      for (const Access& access : accesses_[static_cast<size_t>(v)]) {
        result.touched[static_cast<size_t>(access.node) / 64] |= uint64_t{1} << (access.node % 64);
        for (size_t w = 0; w < words; ++w) result.after[w] &= order_.after(access.node)[w];
      }
    }
    return result;
  }

  static bool ends_before(const Lifetime& a, const Lifetime& b) {
    for (size_t w = 0; w < a.after.size(); ++w)
      if ((b.touched[w] & ~a.after[w]) != 0) return false;
    return true;
  }

  const Program& program_;
  const Order& order_;
  std::vector<std::vector<Access>> accesses_;  // by value
  std::vector<int> place_;                     // by value: the first value at its place, or -1
  std::vector<Lifetime> lifetimes_;            // by block
};

}  // namespace

MemoryPlan plan_memory(const Program& program, const Order& order, const std::function<bool(int)>& counted) {
  return Planner(program, order, counted).run();
}

uint64_t place(std::vector<Block>& blocks, const std::function<bool(size_t, size_t)>& conflict) {
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<size_t> placed;  // in order of offset
  uint64_t total = 0;
  for (const size_t index : order) {
    Block& block = blocks[index];
    uint64_t offset = 0;
    for (const size_t other : placed) {
      if (!conflict(index, other)) continue;
      if (offset + block.bytes <= blocks[other].offset) break;
      const uint64_t end = blocks[other].offset + blocks[other].bytes;
      offset = std::max(offset, (end + block.alignment - 1) / block.alignment * block.alignment);
    }
    block.offset = offset;
    total = std::max(total, offset + block.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](size_t a, size_t b) { return blocks[a].offset < blocks[b].offset; }),
                  index);
  }
  return total;
}

}  // namespace packhorse
